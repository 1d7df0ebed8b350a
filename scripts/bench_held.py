#!/usr/bin/env python3
"""What two commands score on data that no choice was made on, beside the usual baselines: the table of the README.

    python scripts/bench_held.py NAME=DATA [NAME=DATA ...] --work DIR [--epochs 100]

DATA are folders in a DCASE layout with labelled test clips, made with seeds that were never used before. For each, the
commands run as a user gives them:

    featstore build DATA STORE                                  log-mel statistics and generated anomalies
    detect STORE --ensemble                                     chosen without labels
    detect STORE -d knn -e logmel@mean                          nearest neighbour on mean log-mel
    detect STORE -d mahalanobis:standardize=true -e logmel@mean
    featstore train ae DATA ...; detect STORE -d residual -e ae@residual    the autoencoder of the DCASE baseline

Printed are official scores in percent with 95 % intervals, and the lead of the ensemble over the best of the three
baselines of the same data, with the interval of the paired difference. The best baseline is found by the labels, which
favours the baselines.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from detectors.metrics.intervals import Interval, compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable, read_scores
from ensemble.output import year_of
from featstore.store import FeatureStore

ENSEMBLE = "detect --ensemble"
BASELINES = {
    "k-NN": ["-d", "knn", "-e", "logmel@mean"],
    "Mahalanobis": ["-d", "mahalanobis:standardize=true", "-e", "logmel@mean"],
    "autoencoder": ["-d", "residual", "-e", "ae@residual"],
}
CONSTANTS = ("batch=16", "learning_rate=0.001")
"""Of the autoencoder, as in the recipe `ae`."""


def run(module: str, *arguments: object) -> None:
    """A command as a user gives it, without its output."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def build(data: Path, store: Path, epochs: int) -> None:
    """Embed the recordings, generated anomalies and the autoencoder; what is there is not made again."""
    run("featstore.cli", "build", data, store)
    network = store.with_suffix(".ae.safetensors")
    if not network.exists():
        constants = [word for text in (f"epochs={epochs}", *CONSTANTS) for word in ("--set", text)]
        run("featstore.cli", "train", "ae", data, "-o", network, *constants)
    run("featstore.cli", "build", data, store, "-e", f"ae={network}")


def scored(store: Path, out: Path) -> dict[str, ScoreTable]:
    """Scores of the ensemble and of the baselines, by name."""
    tables = {}
    # The autoencoder is a baseline here, so the ensemble does not get it.
    for name, options in {ENSEMBLE: ["--ensemble", "-e", "logmel", "-e", "twfr"], **BASELINES}.items():
        folder = out / name.replace(" ", "-")
        run("ensemble.cli", store, *options, "-o", folder)
        tables[name] = read_scores(folder / "scores.csv")
    return tables


def row(name: str, store: Path, tables: dict[str, ScoreTable]) -> list[str]:
    """A line of the table."""
    clips = FeatureStore.open(store).clips("logmel")
    tests = clips[clips.where(split="test")]
    labels, year = Labels.of(tests), year_of(tests)
    scores = {system: intervals(table, labels, year).score for system, table in tables.items()}
    best = max(BASELINES, key=lambda baseline: scores[baseline].value)
    lead = compare(tables[ENSEMBLE], tables[best], labels, year).score
    normal = int((clips.where(split="train") & clips.where(variant="") & ~clips.where(label="anomaly")).sum())
    return [
        f"{name} ({normal:,} training clips, {len(tests):,} test clips)",
        f"**{cell(scores[ENSEMBLE])}**",
        *(cell(scores[baseline]) for baseline in BASELINES),
        cell(lead, "+"),
    ]


def cell(interval: Interval, sign: str = "") -> str:
    """Percent with its interval."""
    value, low, high = (100 * number for number in (interval.value, interval.low, interval.high))
    return f"{value:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def show(cells: Sequence[str]) -> None:
    """Print a line of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Build, score and print, one data set after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=DATA")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=100, help="of the autoencoder")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    show(["data", f"`{ENSEMBLE}`", *BASELINES, "lead over the best of the three"])
    show(["---"] * (len(BASELINES) + 3))
    for text in args.data:
        name, _, folder = text.partition("=")
        store = args.work / f"{Path(folder).name}.store"
        build(Path(folder), store, args.epochs)
        show(row(name, store, scored(store, args.work / Path(folder).name)))


if __name__ == "__main__":
    main()
