#!/usr/bin/env python3
"""What confirmed faults add to a selection when a network translates normal clips into them.

    python scripts/bench_stargan.py DATA --work DIR [--confirmed 15] [--seed 0] [--strategy NAME] [--set KEY=VALUE]

DATA is a folder in a DCASE layout with labelled test clips, e.g. of `featstore simulate`. As many faults of a machine
as --confirmed are drawn from the test clips, as if a person had confirmed them. `stargan` is trained on them. Ensembles
are chosen by the usual generated anomalies, with translated ones, by these alone, and with the confirmed clips
themselves (`detect select --faults`). All are scored on the other test clips. Printed: the official score with its
interval, and the lead over the first choice with the paired interval. Seeds share the store of the usual anomalies.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from real_metrics import part_of

from detectors.metrics.intervals import compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.scores import ScoreTable
from ensemble.output import labelled, score_table, test_clips, year_of
from ensemble.recipe import Recipe, read_recipe
from ensemble.run import detect
from featstore.console import table
from featstore.store import FeatureStore

HEADER = ["chosen by", "official score", "lead over the first"]


def run(module: str, *arguments: object) -> None:
    """A command as a user gives it, without what it prints."""
    start = perf_counter()
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    print(f"{perf_counter() - start:.0f} s: {' '.join(map(str, arguments[:1]))}", file=sys.stderr)


def draw(labels: Labels, count: int, rng: np.random.Generator) -> np.ndarray:
    """Mask (m,) of `count` faults of each machine, as if a person had confirmed them."""
    drawn = np.zeros(len(labels.keys), dtype=bool)
    for machine in np.unique(labels.machine):
        faults = np.flatnonzero(labels.is_anomaly & (labels.machine == machine))
        drawn[rng.permutation(faults)[:count]] = True
    return drawn


def write_faults(path: Path, labels: Labels, drawn: np.ndarray) -> None:
    """The confirmed clips as a person would list them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [(key, "fault") for key, chosen in zip(labels.keys, drawn.tolist(), strict=True) if chosen]
        csv.writer(file).writerows([("clip", "label"), *rows])


def choose(store: Path, recipe: Path, *options: object) -> Recipe:
    """The ensemble that `detect select` chooses."""
    if not recipe.exists():
        run("ensemble.cli", "select", store, "-o", recipe, *options)
    return read_recipe(recipe)


def main() -> None:
    """Build, train, choose and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--confirmed", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strategy", default="", help="As in `detect select`; default: the safest of all.")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    usual, translated = args.work / "usual", args.work / f"translated-{args.seed}"
    run("featstore.cli", "build", args.data, usual)
    clips, _ = labelled(test_clips(FeatureStore.open(usual), None))
    labels, year = Labels.of(clips), year_of(clips)
    drawn = draw(labels, args.confirmed, np.random.default_rng(args.seed))
    faults, checkpoint = args.work / f"faults-{args.seed}.csv", args.work / f"stargan-{args.seed}.safetensors"
    write_faults(faults, labels, drawn)
    if not checkpoint.exists():
        settings = [word for text in [f"faults={faults}", *args.settings] for word in ("--set", text)]
        run("featstore.cli", "train", "stargan", args.data, "-o", checkpoint, *settings)
    alone = args.work / f"alone-{args.seed}"
    for store, design in ((translated, "auto"), (alone, "6:translated")):
        run("featstore.cli", "build", args.data, store, "--anomalies", design, "--translated-faults", checkpoint)
    others, rows, first = part_of(labels, ~drawn), [], None
    for name, store, options in (
        ("usual generated anomalies", usual, ()),
        ("usual and translated", translated, ()),
        ("translated anomalies alone", alone, ()),
        ("usual, and the confirmed faults", usual, ("--faults", faults)),
        ("usual, translated, and the confirmed faults", translated, ("--faults", faults)),
    ):
        recipe = args.work / f"{store.name}-{'faults' if options else 'none'}-{args.seed}{args.strategy}.toml"
        scores = score_table(
            detect(
                FeatureStore.open(store),
                choose(store, recipe, *options, *(("--strategy", args.strategy) if args.strategy else ())),
            )
        )
        of = dict(zip(scores.keys, scores.scores.tolist(), strict=True))
        scores = ScoreTable(name, others.keys, np.array([of[key] for key in others.keys]))
        first = first or scores
        score, lead = (intervals(scores, others, year).score, compare(scores, first, others, year).score)
        cells = [f"{100 * cell.value:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]" for cell in (score, lead)]
        rows.append([name, cells[0], cells[1] if scores is not first else ""])
    print(table(HEADER, rows))


if __name__ == "__main__":
    main()
