#!/usr/bin/env python3
"""Selection without audio, by perturbed embeddings, checked on real MIMII anomalies.

    python scripts/bench_selection_mimii.py FOLDER [--machines fan,pump] [--severities -10,-5,0,5]

FOLDER holds fan.npz, pump.npz, slider.npz (see bench_mimii_features.py: half of the normal clips of each id train). The
features have no audio, so the anomalies are made in embedding space (`detect select --perturb`). Every SNR is a store
of its own. Printed for each: the official score of 2020 (AUC and pAUC of each id, no domains) of the selection and of
what it is compared with, and its lead by a paired bootstrap; the label-free indicators; rho, Spearman's rank
correlation between the candidates' metrics on perturbed and on real anomalies, of each perturbation and severity.

The perturbations and severities were chosen on fan and pump (and on the UAV flights at -10 dB); the test labels of
slider were inspected once, afterwards.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from bench_mimii_features import write_arrays
from bench_selection import compared, report
from real_metrics import real_scores

from ensemble.recipe import Member
from ensemble.selection.candidates import default_candidates
from ensemble.selection.choose import Problem, positions
from ensemble.selection.indicators import agreement, stability
from ensemble.selection.informative import RULES, mean_rank, spearman
from ensemble.selection.quality import by_pair, official_score
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.perturb_design import SEVERITIES_DB, PerturbDesign
from ensemble.selection.scoring.score_candidates import score_candidates
from ensemble.selection.scoring.validation import FOLDS, plan_validation
from ensemble.selection.select import Options, select
from featstore.clip import Clip
from featstore.console import table
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

SNRS = ("-6 dB", "0 dB", "6 dB")
EMBEDDING = "mimii"


def import_snr(folder: Path, store: Path, machines: Iterable[str], snr: str) -> FeatureStore:
    """A store of some machines at one SNR; machines are named without it."""
    with (folder / "features.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {f"{machine} {snr}": machine for machine in machines}
    chosen = [i for i, row in enumerate(rows) if row["machine"] in wanted]
    clips = [
        Clip(row["path"], wanted[row["machine"]], row["section"], row["split"], "unknown", row["label"])  # type: ignore[arg-type]
        for row in (rows[i] for i in chosen)
    ]
    import_matrix(store, EMBEDDING, np.load(folder / "features.npy")[chosen], ClipTable.from_clips(clips))
    return FeatureStore.open(store)


def rho(values: np.ndarray, real: np.ndarray) -> float:
    """Rank correlation of one value per candidate with the real scores."""
    return float(spearman(values[:, None], real[:, None])[0])


def without_anomalies(problem: Problem, halved: Problem, real: np.ndarray) -> str:
    """Label-free indicators from normal clips alone.

    The agreement of a candidate with the others, and of its ranking of the clips with that by banks of half the clips.
    """
    first, second = (each.placed[:, each.validation.normal] for each in (problem, halved))
    indicators = {
        "agreement between members": agreement(first),
        "stability under resampling": spearman(first.T, second.T),
    }
    texts = [
        f"{name} rho {rho(values, real):+.2f}, its best candidate reaches {100 * real[int(values.argmax())]:.1f}"
        for name, values in indicators.items()
    ]
    return f"without any anomaly: {'; '.join(texts)}"


def of_pairs(problem: Problem, real: np.ndarray, severities: tuple[float, ...]) -> str:
    """rho of every perturbation (rows) and severity (columns), with the mean value of the candidates."""
    values = by_pair(problem.metrics[2])
    numbers = {(pair.transform, pair.severity_db): i for i, pair in enumerate(problem.validation.pairs)}
    rows = []
    for name in dict.fromkeys(pair.transform for pair in problem.validation.pairs):
        columns = [values[:, numbers[name, db]] for db in severities]
        rows.append([name, *(f"{rho(column, real):+.2f} ({100 * column.mean():.0f})" for column in columns)])
    return table(["rho (mean value)", *(f"{db:g} dB" for db in severities)], rows)


def problem_of(
    store: FeatureStore, members: list[Member], cache: ScoreCache, design: PerturbDesign, folds: int = FOLDS
) -> Problem:
    """All candidates on the clips of a design."""
    validation = plan_validation(store.clips(EMBEDDING), store.facts(EMBEDDING), folds=folds, perturbed=design)
    return Problem(validation, positions(score_candidates(store, members, validation, cache).scores, validation))


def bench(store: FeatureStore, cache: ScoreCache, design: PerturbDesign) -> str:
    """The text of one store."""
    members = default_candidates(store)
    selection = select(store, members, cache, Options(workers=2, perturbed=design))
    real = real_scores(store, members, cache)
    singles = np.array([real.score(row) for row in real.test])
    problem = problem_of(store, members, cache, design)
    halved = problem_of(
        store, members, cache, PerturbDesign(per_pair=1, transforms=("noise",), severities_db=(0.0,)), folds=2
    )
    values, halves = by_pair(problem.metrics[2]), (by_pair(problem.metrics[0]), by_pair(problem.metrics[1]))
    rules = {name: mean_rank(values, rule(values, halves)) for name, rule in RULES.items()}
    perturbed = official_score(problem.metrics[2], problem.pair_weights)
    stable = stability(problem.metrics, problem.pair_weights)[1]
    parts = [
        f"chosen: {selection.chosen}; {selection.reason}",
        f"members: {', '.join(member.detector for member in selection.recipe.members)}",
        report(real, compared(store, {"selected": selection}, real, singles)),
        "rho of ranks on perturbed and scores on real anomalies: "
        + ", ".join(f"{name} {rho(rank, singles):.2f}" for name, rank in rules.items())
        + f"; official score {rho(perturbed, singles):.2f}; of two halves of the clips {stable:.2f}",
        without_anomalies(problem, halved, singles),
        of_pairs(problem, singles, design.severities_db),
    ]
    return "\n".join(parts)


def main() -> None:
    """Import the features, select, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machines", default="fan,pump", help="in one store; the design was chosen on fan,pump")
    parser.add_argument("--severities", default=",".join(f"{db:g}" for db in SEVERITIES_DB), help="dB")
    args = parser.parse_args()
    design = PerturbDesign(severities_db=tuple(sorted(float(db) for db in args.severities.split(","))))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        write_arrays(args.folder, out)
        for snr in SNRS:
            store = import_snr(out, out / f"{snr}.store", args.machines.split(","), snr)
            print(f"\n== {args.machines} at {snr}\n{bench(store, ScoreCache(out / 'cache'), design)}", flush=True)


if __name__ == "__main__":
    main()
