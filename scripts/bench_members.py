#!/usr/bin/env python3
"""Does a selection refuse other embeddings than log-mel where they lose, and take them where they win?

    python scripts/bench_members.py DATA [DATA ...] --work DIR [--mn04 PATH] [--member NAME=SPEC ...]
        [--group ATTRIBUTE] [--anomalies auto] [--without crepe]

Each DATA is a labelled folder in any layout. Its store has `logmel` and `twfr` (as `featstore build DATA STORE` makes
them), and with --mn04 the pretrained encoders crepe, the mean of mn04's final layer, and its layers 3 and 6 with all
bands. `--member` adds any embedder, such as a trained network's checkpoint. All have the same generated anomalies.
`featstore build` and `detect` run as a user runs them. With `--group`, clips of equal ATTRIBUTE (`day`) are never each
other's reference, in ensembles and in the selection; all folders need it.

The Markdown table has a column per folder and the official score in percent with its 95 % interval: of every other
embedding and two statistics of logmel by two detectors, of the fixed default and of the selection from logmel and twfr,
and of both from all. The last two have in parentheses the lead over the same by log-mel alone, on the same clips.
`others` is the share of weight of the other embeddings. Test labels decide nothing. DIR keeps stores and choices; a
second run resumes.
"""

import argparse
import sys
from collections.abc import Collection, Mapping
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
OWN_SOURCES = ("logmel@mean", "logmel@p10")
DETECTORS = ("knn", "mahalanobis:standardize=true")
ENCODERS = ("crepe", "mn04-early", "mn04-final")
VIEWS = {"mn04-early": ("mn04-early@l3", "mn04-early@l6")}
"""Embeddings whose views are rows of their own."""


@dataclass(frozen=True)
class System:
    """One row of the table: options of `detect`, and the row that it is compared with, if any."""

    name: str
    options: tuple[str, ...]
    against: str = ""


def others(args: argparse.Namespace) -> dict[str, str]:
    """Embeddings besides log-mel: NAME to what follows -e."""
    mn04 = args.mn04
    encoders = {
        "crepe": "crepe",
        "mn04-early": f"mn04:checkpoint={mn04},layers=3;6,pool=flat",
        "mn04-final": f"mn04={mn04}",
    }
    named = dict(member.split("=", 1) for member in args.member)
    return {name: spec for name, spec in encoders.items() if mn04 and name not in args.without} | named


def systems(names: Collection[str]) -> list[System]:
    """All rows of the table, for embeddings of these names besides log-mel."""
    own = tuple(word for name in OWN for word in ("-e", name))
    sources = [*OWN_SOURCES, *(source for name in names for source in VIEWS.get(name, (name,)))]
    singles = [
        System(f"{source}, {detector.partition(':')[0]}", ("-d", detector, "-e", source))
        for source in sources
        for detector in DETECTORS
    ]
    return [
        *singles,
        System("default, log-mel", ("--default", *own)),
        System("default, all", ("--default",), "default, log-mel"),
        System("selection, log-mel", ("--ensemble", *own)),
        System("selection, all", ("--ensemble",), "selection, log-mel"),
    ]


def build(data: Path, store: Path, specs: Mapping[str, str], anomalies: str) -> None:
    """The store of a folder, with all embeddings and their generated anomalies."""
    for name, spec in {**{name: name for name in OWN}, **specs}.items():
        run(featstore, ["build", str(data), str(store), "-e", spec, "--as", name, "--anomalies", anomalies])


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
            cells[system.name] += f"; others {100 * others_share(out / 'recipe.toml'):.0f} %"
    return cells


def others_share(recipe: Path) -> float:
    """Share of the weight of an ensemble that other embeddings than log-mel have."""
    members = read_recipe(recipe).members
    weights = [member.weight for member in members if member.embedding not in OWN]
    return sum(weights) / sum(member.weight for member in members)


def main() -> None:
    """Build and measure one folder after another, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--mn04", type=Path, metavar="PATH")
    parser.add_argument("--member", action="append", default=[], metavar="NAME=SPEC")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--group", default="", metavar="ATTRIBUTE")
    parser.add_argument("--anomalies", default="auto", help="as for featstore build")
    parser.add_argument("--without", choices=ENCODERS, action="append", default=[], help="leave out an encoder")
    args = parser.parse_args()
    specs = others(args)
    columns, rows = {}, systems(specs)
    for data in args.data:
        store = args.work / f"{data.name}.store"
        build(data, store, specs, args.anomalies)
        out = args.work / (f"{data.name}-by-{args.group}" if args.group else data.name)
        columns[data.name] = measured(FeatureStore.open(store), out, rows, args.group)
        print(f"measured: {data.name}", file=sys.stderr, flush=True)
    show(["system", *columns])
    show(["---"] * (1 + len(columns)))
    for system in rows:
        show([system.name, *(cells[system.name] for cells in columns.values())])


if __name__ == "__main__":
    main()
