#!/usr/bin/env python3
"""Does an ensemble chosen by generated anomalies hold on real ones? Two commands make it; labelled test clips check it.

    python scripts/bench_selection.py DATA [DATA ...] --work DIR [--anomalies N@DB,...] [--figure agreement.png]

DATA are folders in a DCASE layout with labelled test clips, e.g. of `featstore simulate`. For each,
`featstore build DATA STORE` and `detect STORE --ensemble` run as a user runs them. Printed:

- the real official score of the chosen ensemble and of the fixed default (`--default`), with the correction for the
  domain that a clip sounds like and without (`--domains pooled`), of label-free fusions of all candidates, and of the
  best and the median single candidate by labels, the best also with the correction; with the paired bootstrap of the
  chosen ensemble's lead;
- the same where the best single candidate is chosen by the labels of half of the test clips and scored on the other
  half, which removes the luck of choosing one of hundreds;
- Spearman's rho between the candidates' metrics on generated and on real anomalies: of every rule for pairs, of each
  transform, and by machine and severity; and the greatest rho that so few test clips allow.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
from real_metrics import Real, held_out, real_scores

from detectors.metrics.intervals import compare, intervals
from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.defaults import default_recipe
from ensemble.domains.correct import predicted_domains
from ensemble.domains.correction import Correction, scale_of
from ensemble.inputs import Inputs
from ensemble.output import score_table
from ensemble.run import detect
from ensemble.selection.candidates import default_candidates
from ensemble.selection.choose import Problem, positions
from ensemble.selection.informative import RULES, mean_rank, spearman
from ensemble.selection.quality import by_pair
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.domains import corrected_positions, validation_posterior
from ensemble.selection.scoring.score_candidates import score_candidates
from ensemble.selection.scoring.validation import plan_validation
from ensemble.selection.select import Selection
from featstore.console import table
from featstore.store import FeatureStore

FUSIONS = {"rank mean of all": "mean", "minimum of z-scores": "min_zscore"}


def run(module: str, *arguments: object) -> None:
    """A command as a user gives it, without what it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def build(data: Path, store: Path, anomalies: str | None) -> None:
    """Embed recordings and generated anomalies."""
    run("featstore.cli", "build", data, store, *(["--anomalies", anomalies] if anomalies else []))


def compared(
    store: FeatureStore, selections: dict[str, Selection], real: Real, singles: np.ndarray
) -> dict[str, ScoreTable]:
    """Scores of the compared ensembles and candidates, by name."""
    runs = {name: selection.recipe for name, selection in selections.items()} | {"fixed default": default_recipe(store)}
    tables = {name: score_table(detect(store, recipe)) for name, recipe in runs.items()}
    return tables | of_candidates(real, singles)


def of_candidates(real: Real, singles: np.ndarray) -> dict[str, ScoreTable]:
    """Scores of fusions of all candidates, and of the best and the median one by labels."""
    tables = {name: real.table(name, real.fused(rule)) for name, rule in FUSIONS.items()}
    middle = int(np.argsort(singles)[len(singles) // 2])
    tables["best single (labels)"] = real.table("best", real.test[int(singles.argmax())])
    return tables | {"median single": real.table("median", real.test[middle])}


def of_commands(store: Path, work: Path) -> dict[str, ScoreTable]:
    """Scores of `detect STORE --ensemble` and `--default`, with and without the correction for domains."""
    tables = {}
    for name, options in {
        "selected": ["--ensemble"],
        "selected, pooled domains": ["--recipe", work / "selected" / "recipe.toml", "--domains", "pooled"],
        "fixed default": ["--default"],
        "fixed default, pooled domains": ["--default", "--domains", "pooled"],
    }.items():
        out = work / ("selected" if name == "selected" else "other")
        run("ensemble.cli", store, *options, "-o", out)
        tables[name] = read_scores(out / "scores.csv")
    return tables


def without_offset(store: FeatureStore, real: Real) -> np.ndarray:
    """Test scores (candidates, m) of single candidates, corrected for the domain that a clip sounds like."""
    recipe = default_recipe(store)
    inputs = Inputs(store, recipe, ())
    domains = predicted_domains(inputs, recipe)
    if domains is None:
        return real.test
    train, test = (inputs.clips[rows] for rows in (inputs.roles.train, inputs.roles.scored))
    pairs = zip(real.test, real.reference, strict=True)
    return np.array(
        [Correction.of(b, train, scale_of(b, fused=False)).removed(a, test, domains.scored) for a, b in pairs]
    )


def report(real: Real, tables: dict[str, ScoreTable]) -> str:
    """Real score of every choice, and the lead of the selected ensemble."""
    rows = []
    for name, scores in tables.items():
        score = intervals(scores, real.labels, real.year).score
        lead = compare(tables["selected"], scores, real.labels, real.year).score
        cells = [f"{100 * cell.value:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]" for cell in (score, lead)]
        rows.append([name, *cells])
    return table(["choice", "real official score", "lead of selected"], rows)


@dataclass
class Agreement:
    """Ranks on generated anomalies, real scores, and rho by machine (rows) and severity (columns; last: all)."""

    generated: np.ndarray
    real: np.ndarray
    machines: list[str]
    severities: list[float]
    rho: np.ndarray


def agreement(problem: Problem, real: Real, singles: np.ndarray) -> Agreement:
    """How well the candidates' ranks on generated anomalies agree with their real scores."""
    validation, weights = problem.validation, problem.pair_weights
    severity = np.array([pair.severity_db for pair in validation.pairs])
    machines = np.array([machine for machine, _ in validation.sections])
    columns = [*(severity == level for level in np.unique(severity)), np.ones(len(severity), dtype=bool)]
    names, rows = sorted(set(machines.tolist())), []
    for machine in names:
        of_clip = real.labels.machine == machine
        of_machine = np.array([real.score(row, of_clip) for row in real.test]) if len(names) > 1 else singles
        values = by_pair(problem.metrics[2][:, machines == machine])
        used = [np.where(column, weights, 0) for column in columns]
        rows.append([_rho(mean_rank(values, column), of_machine) if column.any() else np.nan for column in used])
    rank = mean_rank(by_pair(problem.metrics[2]), weights)
    return Agreement(rank, singles, names, np.unique(severity).tolist(), np.array(rows))


def _rho(first: np.ndarray, second: np.ndarray) -> float:
    return float(spearman(first[:, None], second[:, None])[0])


def agreement_text(problem: Problem, agreed: Agreement, ceiling: float) -> str:
    """Tables of rho."""
    values, real = by_pair(problem.metrics[2]), agreed.real
    halves = (by_pair(problem.metrics[0]), by_pair(problem.metrics[1]))
    rules = {name: mean_rank(values, rule(values, halves)) for name, rule in RULES.items()}
    of_pair = spearman(values, real[:, None])
    strongest = {pair.transform: at for at, pair in enumerate(problem.validation.pairs)}  # pairs rise in severity
    alone = sorted(((of_pair[at], name) for name, at in strongest.items()), reverse=True)
    rows = [
        [machine, *("-" if np.isnan(value) else f"{value:.2f}" for value in row)]
        for machine, row in zip(agreed.machines, agreed.rho, strict=True)
    ]
    return "\n".join(
        [
            "rho of ranks on generated and scores on real anomalies: "
            + ", ".join(f"{name} {_rho(rank, real):.2f}" for name, rank in rules.items())
            + f"; at most {ceiling:.2f} with so few test clips",
            f"  of each transform at its strongest: {', '.join(f'{name} {value:.2f}' for value, name in alone)}",
            table(["machine", *(f"{level:g} dB" for level in agreed.severities), "all"], rows),
        ]
    )


def bench(data: Path, work: Path, anomalies: str | None) -> Agreement:
    """Run the two commands and print the tables of one folder."""
    path, out = work / f"{data.name}.store", work / data.name
    build(data, path, anomalies)
    started = perf_counter()
    tables = of_commands(path, out)
    store, spent = FeatureStore.open(path), perf_counter() - started
    chosen = json.loads((out / "selected" / "selection.json").read_text())
    print(f"\n== {data.name}: {spent:.0f} s for four detections, {len(chosen['candidates'])} candidates")
    print(f"chosen: {chosen['chosen']}; {chosen['reason']}\n", flush=True)
    members, cache = default_candidates(store), ScoreCache(path / "selection" / "selection-cache")
    real = real_scores(store, members, ScoreCache(work / "cache"))
    singles = np.array([real.score(row) for row in real.test])
    tables |= of_candidates(real, singles)
    shifted = without_offset(store, real)
    of_shifted = np.array([real.score(row) for row in shifted])
    tables["best single (labels), corrected"] = real.table("best", shifted[int(of_shifted.argmax())])
    print(report(real, tables), flush=True)
    held = held_out(real, singles, {name: tables[name].aligned(real.labels.keys) for name in ("selected",)})
    print(
        f"on halves: best single by the labels of the other half {100 * held.oracle:.1f}, "
        f"selected without labels {100 * held.systems['selected']:.1f}"
    )
    base = members[0].embedding
    validation = plan_validation(store.clips(base), store.facts(base))
    scored = score_candidates(store, members, validation, cache)
    placed = positions(scored.scores, validation)
    domains = validation_posterior(store, sorted(store.embeddings), validation)
    problem = Problem(validation, placed if domains is None else corrected_positions(placed, domains))
    agreed = agreement(problem, replace(real, test=shifted), of_shifted)
    print(agreement_text(problem, agreed, held.ceiling), flush=True)
    return agreed


def draw(path: Path, folders: dict[str, Agreement]) -> None:
    """Plot rank on generated against score on real anomalies, and rho by severity; one column per folder."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(folders), 7), layout="constrained")
    axes = figure.subplots(2, len(folders), squeeze=False)
    for (above, below), (name, agreed) in zip(axes.T, folders.items(), strict=True):
        above.plot(agreed.generated, 100 * agreed.real, ".", alpha=0.5)
        above.set(title=name, xlabel="rank on generated anomalies", ylabel="real official score")
        for machine, row in zip(agreed.machines, agreed.rho, strict=True):
            below.plot(agreed.severities, row[:-1], marker="o", label=machine)
        below.set(xlabel="severity, dB", ylabel="Spearman's rho", ylim=(-0.5, 1))
        below.grid(visible=True, alpha=0.3)
        below.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse, bench, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--anomalies", help="as --anomalies of featstore build [auto]")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if args.figure and not find_spec("matplotlib"):
        parser.error("--figure needs matplotlib: pip install 'featstore[report]'")
    args.work.mkdir(parents=True, exist_ok=True)
    folders = {data.name: bench(data, args.work, args.anomalies) for data in args.data}
    if args.figure:
        draw(args.figure, folders)


if __name__ == "__main__":
    main()
