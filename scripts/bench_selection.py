#!/usr/bin/env python3
"""Does selection by generated anomalies hold on real ones? Choose without labels, then look at the labelled test clips.

    python scripts/bench_selection.py DATA [DATA ...] --work DIR [--anomalies N@DB,...] [--figure agreement.png]

DATA are folders in a DCASE layout with labelled test clips, e.g. of `featstore simulate`. Each is built with generated
anomalies into DIR, an ensemble is selected, and the real official score of it, of the fixed default, of the label-free
fusions of all candidates, of the best single candidate by labels and of the median candidate is printed, with the
paired bootstrap of the selected ensemble's lead; then Spearman's rho between the candidates' generated and real
figures, and the same of each transform alone.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np

from detectors.intervals import bootstrap, compare
from detectors.labels import Labels
from detectors.official import evaluate
from detectors.scores import ScoreTable
from detectors.sections import score_sections
from ensemble.calibrate import PlacedScores
from ensemble.candidates import default_candidates
from ensemble.choose import Problem, positions
from ensemble.defaults import default_recipe
from ensemble.figures import by_pair
from ensemble.fuse import fuse
from ensemble.informative import RULES, candidate_figure, spearman
from ensemble.output import score_table, year_of
from ensemble.recipe import Member, write_recipe
from ensemble.run import detect
from ensemble.score_candidates import score_candidates
from ensemble.select import Selection, select
from ensemble.selection_cache import ScoreCache
from ensemble.selection_report import selection_text, write_selection
from ensemble.validation import plan_validation
from featstore.console import table
from featstore.store import FeatureStore

ANOMALIES = "6@-20,-15,-10,-5,0,5"
EMBEDDINGS = ("logmel:stats=mean;std;delta;min;p05;p10;p25;median;p75;p90;max", "twfr")


@dataclass
class Real:
    """Test and reference scores (candidates, clips), the clips of either, and the labels."""

    test: np.ndarray
    reference: np.ndarray
    placed: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    labels: Labels
    year: int

    def score(self, scores: np.ndarray) -> float:
        """Official score of test scores (m,)."""
        return evaluate(self.table("", scores), self.labels, self.year).score

    def table(self, name: str, scores: np.ndarray) -> ScoreTable:
        """Scores by clip."""
        return ScoreTable(name, self.labels.keys, scores)

    def fused(self, rule: str) -> np.ndarray:
        """Test scores (m,) of all candidates fused."""
        sides = [
            [PlacedScores(row, *where) for row in scores]
            for scores, where in zip((self.test, self.reference), self.placed, strict=True)
        ]
        return fuse(rule, *sides).scores


def build(data: Path, store: Path, anomalies: str) -> None:
    """Embed recordings and generated anomalies."""
    for spec in EMBEDDINGS:
        options = ["-e", spec, "--as", spec.partition(":")[0], "--with-anomalies", anomalies]
        command = [sys.executable, "-m", "featstore.cli", "build", str(data), str(store), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def real_scores(job: tuple[Path, list[Member]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Test and reference scores of detectors on one view."""
    store = FeatureStore.open(job[0])
    train, test, X = clips_and_rows(store, job[1][0])
    clips = store.clips(job[1][0].embedding)
    found = [score_sections(one.detector, X[train], clips[train], X[test], clips[test]) for one in job[1]]
    return [(one.scores, one.reference) for one in found]


def clips_and_rows(store: FeatureStore, member: Member) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that train, rows of the test clips, and the matrix of a view."""
    clips = store.clips(member.embedding)
    train = clips.where(split="train") & clips.where(variant="") & ~clips.where(label="anomaly")
    matrix = store.matrix(member.embedding)[:, store.info(member.embedding).views.index(member.view)]
    return np.flatnonzero(train), np.flatnonzero(clips.where(split="test")), matrix


def look(store: FeatureStore, members: list[Member]) -> Real:
    """Real scores of all candidates, two views at a time."""
    views: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        views.setdefault((member.embedding, member.view), []).append(member)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip(views, pool.map(real_scores, [(store.path, list_) for list_ in views.values()]), strict=True))
    by_name = {m.name: s for at, list_ in views.items() for m, s in zip(list_, found[at], strict=True)}
    train, test, _ = clips_and_rows(store, members[0])
    clips = store.clips(members[0].embedding)
    placed = tuple((clips[rows].column("machine"), clips[rows].column("section")) for rows in (test, train))
    columns = [np.array([by_name[member.name][side] for member in members]) for side in (0, 1)]
    return Real(*columns, placed, Labels.of(clips[test]), year_of(clips[test]))


def systems(store: FeatureStore, selection: Selection, real: Real, singles: np.ndarray) -> dict[str, ScoreTable]:
    """Scores of what is compared, by name."""
    runs = {"selected": selection.recipe, "fixed default": default_recipe(store)}
    found = {name: score_table(detect(store, recipe)) for name, recipe in runs.items()}
    found |= {name: real.table(name, real.fused(rule)) for name, rule in FUSIONS.items()}
    middle = int(np.argsort(singles)[len(singles) // 2])
    found["best single (labels)"] = real.table("best", real.test[int(singles.argmax())])
    return found | {"median candidate": real.table("median", real.test[middle])}


FUSIONS = {"rank mean of all": "mean", "minimum of z-scores": "min_zscore"}


def report(real: Real, found: dict[str, ScoreTable]) -> str:
    """Real score of every system and the selected one's lead."""
    rows = []
    for name, scores in found.items():
        score = bootstrap(scores, real.labels, real.year, np.random.default_rng(0), replicates=500).score
        lead = compare(
            found["selected"], scores, real.labels, real.year, np.random.default_rng(0), replicates=500
        ).score
        shown = [f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]" for one in (score, lead)]
        rows.append([name, *shown])
    return table(["system", "real official score", "selected minus it"], rows)


def agreement(problem: Problem, real: np.ndarray) -> tuple[str, np.ndarray]:
    """Spearman's rho with the real figures, by rule for pairs and by transform; and the candidates' figures."""
    values = by_pair(problem.figures[2])
    halves = (by_pair(problem.figures[0]), by_pair(problem.figures[1]))
    rules = {name: candidate_figure(values, rule(values, halves)) for name, rule in RULES.items()}
    rho = {name: float(spearman(figure[:, None], real[:, None])[0]) for name, figure in rules.items()}
    of_pair = spearman(values, real[:, None])
    strongest = {pair.transform: at for at, pair in enumerate(problem.validation.pairs)}  # pairs rise in severity
    alone = sorted(((of_pair[at], name) for name, at in strongest.items()), reverse=True)
    listed = ", ".join(f"{name} {value:.2f}" for value, name in alone)
    text = "rho of generated and real figures: " + ", ".join(f"{name} {value:.2f}" for name, value in rho.items())
    return f"{text}\n  of the strongest severity of each transform alone: {listed}", rules["agreement"]


def bench(data: Path, work: Path, anomalies: str) -> tuple[np.ndarray, np.ndarray]:
    """One folder; returns generated and real figures of the candidates."""
    store_path = work / f"{data.name}.store"
    build(data, store_path, anomalies)
    store = FeatureStore.open(store_path)
    members, cache = default_candidates(store), ScoreCache(work / "cache")
    started = perf_counter()
    selection = select(store, members, cache)
    spent = perf_counter() - started
    write_selection(work / f"{data.name}.selection.json", selection)
    write_recipe(selection.recipe, work / f"{data.name}.recipe.toml")
    print(f"\n== {data.name}: {spent:.0f} s, {selection.computed} candidates scored")
    print(selection_text(selection).split("the best candidates")[0].strip())
    print(f"chosen: {selection.chosen}; {selection.reason}\n")
    real = look(store, members)
    singles = np.array([real.score(row) for row in real.test])
    print(report(real, systems(store, selection, real, singles)))
    base = members[0].embedding
    validation = plan_validation(store.clips(base), store.facts(base))
    scored = score_candidates(store, members, validation, cache)
    text, generated = agreement(Problem(validation, positions(scored.scores, validation)), singles)
    print(text, flush=True)
    return generated, singles


def draw(path: Path, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Generated against real figures of every candidate, one panel per folder."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 4), layout="constrained")
    for axes, (name, (generated, real)) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        axes.plot(generated, 100 * real, ".", alpha=0.5)
        axes.set(title=name, xlabel="rank on generated anomalies", ylabel="real official score")
    figure.savefig(path)


def main() -> None:
    """Parse, bench, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--anomalies", default=ANOMALIES, help="as --with-anomalies of featstore build")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if args.figure and not find_spec("matplotlib"):
        parser.error("--figure needs matplotlib: pip install 'featstore[report]'")
    args.work.mkdir(parents=True, exist_ok=True)
    found = {data.name: bench(data, args.work, args.anomalies) for data in args.data}
    if args.figure:
        draw(args.figure, found)


if __name__ == "__main__":
    main()
