#!/usr/bin/env python3
"""Does a selection refuse pretrained encoders where they lose, and take them where they win?

    python scripts/bench_members.py DATA [DATA ...] --mn04 PATH --work DIR [--group ATTRIBUTE] [--anomalies auto]
        [--without crepe]

Each DATA is a labelled folder in any layout. Its store has `logmel` and `twfr` (as `featstore build DATA STORE` makes
them), and as pretrained encoders crepe, the mean of mn04's final layer, and its layers 3 and 6 with all bands, all with
the same generated anomalies. `featstore build` and `detect` run as a user runs them. With `--group`, clips of equal
ATTRIBUTE (`day`) are never each other's reference, in ensembles and in the selection; all folders need it.

The Markdown table has a column per folder and the official score in percent with its 95 % interval: of every pretrained
embedding and two statistics of logmel by two detectors, of the fixed default and of the selection from logmel and twfr,
and of both from all. The last two have in parentheses the lead over the same without pretrained encoders, on the same
clips. `pretrained` is their share of the weight. Test labels decide nothing. DIR keeps stores and choices; a second run
resumes.
"""

import argparse
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench_channels import Result, cell, run, show

from detectors.metrics.intervals import compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.scores import read_scores
from ensemble.cli import main as detect
from ensemble.output import labelled, test_clips, year_of
from ensemble.recipe import read_recipe
from featstore.cli import main as featstore
from featstore.store import FeatureStore

OWN = ("logmel", "twfr")
DETECTORS = ("knn", "mahalanobis:standardize=true")
ENCODERS = ("crepe", "mn04-early", "mn04-final")
SOURCES = ("logmel@mean", "logmel@p10", "crepe", "mn04-early@l3", "mn04-early@l6", "mn04-final")


@dataclass(frozen=True)
class System:
    """One row of the table: options of `detect`, and the row that it is compared with, if any."""

    name: str
    options: tuple[str, ...]
    against: str = ""


def systems(without: Collection[str]) -> list[System]:
    """All rows of the table, without those of some encoders."""
    own = tuple(word for name in OWN for word in ("-e", name))
    singles = [
        System(f"{source}, {detector.partition(':')[0]}", ("-d", detector, "-e", source))
        for source in SOURCES
        if source.partition("@")[0] not in without
        for detector in DETECTORS
    ]
    return [
        *singles,
        System("default, without pretrained", ("--default", *own)),
        System("default, with pretrained", ("--default",), "default, without pretrained"),
        System("selection, without pretrained", ("--ensemble", *own)),
        System("selection, with pretrained", ("--ensemble",), "selection, without pretrained"),
    ]


def build(data: Path, store: Path, args: argparse.Namespace) -> None:
    """The store of a folder, with all embeddings and their generated anomalies."""
    mn04 = args.mn04
    specs = {
        **{name: name for name in OWN},
        "crepe": "crepe",
        "mn04-early": f"mn04:checkpoint={mn04},layers=3;6,pool=flat",
        "mn04-final": f"mn04={mn04}",
    }
    for name in [name for name in specs if name not in args.without]:
        run(featstore, ["build", str(data), str(store), "-e", specs[name], "--as", name, "--anomalies", args.anomalies])


def measured(store: FeatureStore, work: Path, rows: list[System], group: str) -> dict[str, str]:
    """Cells of all rows of one folder."""
    clips, _ = labelled(test_clips(store, None))
    labels, year = Labels.of(clips), year_of(clips)
    scores, cells = {}, {}
    for system in rows:
        out = work / system.name.replace(",", "").replace(" ", "-")
        grouped = ("--group", group) if group and system.options[0] != "-d" else ()
        run(detect, [str(store.path), *system.options, *grouped, "-o", str(out)])
        table = scores[system.name] = read_scores(out / "scores.csv")
        lead = compare(table, scores[system.against], labels, year).score if system.against else None
        cells[system.name] = cell([Result(intervals(table, labels, year).score, lead)])
        if system.against:
            cells[system.name] += f"; pretrained {100 * pretrained_share(out / 'recipe.toml'):.0f} %"
    return cells


def pretrained_share(recipe: Path) -> float:
    """Share of the weight of an ensemble that pretrained encoders have."""
    members = read_recipe(recipe).members
    weights = [member.weight for member in members if member.embedding not in OWN]
    return sum(weights) / sum(member.weight for member in members)


def main() -> None:
    """Build and measure one folder after another, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--mn04", type=Path, required=True, metavar="PATH")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--group", default="", metavar="ATTRIBUTE")
    parser.add_argument("--anomalies", default="auto", help="as for featstore build")
    parser.add_argument("--without", choices=ENCODERS, action="append", default=[], help="leave out an encoder")
    args = parser.parse_args()
    columns, rows = {}, systems(args.without)
    for data in args.data:
        store = args.work / f"{data.name}.store"
        build(data, store, args)
        out = args.work / (f"{data.name}-by-{args.group}" if args.group else data.name)
        columns[data.name] = measured(FeatureStore.open(store), out, rows, args.group)
        print(f"measured: {data.name}", file=sys.stderr, flush=True)
    show(["system", *columns])
    show(["---"] * (1 + len(columns)))
    for system in rows:
        show([system.name, *(cells[system.name] for cells in columns.values())])


if __name__ == "__main__":
    main()
