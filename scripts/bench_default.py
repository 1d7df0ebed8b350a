#!/usr/bin/env python3
"""The fixed default ensemble beside the one it replaced, on labelled test clips.

    python scripts/bench_default.py [STORE ...] [--mimii FOLDER [--machines fan,pump]]

STORE has labelled test clips, and the embeddings logmel (with any statistics) and twfr, as bench_selection.py builds
them. FOLDER holds the features that bench_mimii_features.py describes. Printed for every store, with all views and with
the default statistics of logmel: number of members and official score (percent) of the former default (k-NN,
Mahalanobis and a Gaussian mixture on every view, equal weights) and of `default_recipe`; the same with the correction
for the domain that a clip sounds like; and the weight of every view.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench_mimii_features import write_arrays
from bench_selection_mimii import SNRS, import_snr

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from embedders.statistics.logmel import LogMel
from ensemble.defaults import DETECTORS, weighted_recipe
from ensemble.output import score_table, year_of
from ensemble.recipe import PREDICTED, Member, Recipe
from ensemble.run import Detection, detect
from featstore.console import table
from featstore.store import FeatureStore

Sources = list[tuple[str, str]]


def view_sets(store: FeatureStore) -> Iterator[tuple[str, Sources]]:
    """All views, the default statistics of logmel with the other embeddings, and without them."""
    every = [(name, view) for name in sorted(store.embeddings) for view in store.info(name).views or ("",)]
    yield "all views", every
    if "logmel" in store.embeddings:
        default = [(name, view) for name, view in every if name != "logmel" or view in LogMel().stats]
        yield "default views", default
        yield "default views of logmel", [source for source in default if source[0] == "logmel"]


def former(sources: Sources) -> Recipe:
    """The former default: the same detectors without LOF on every view, all with the same weight."""
    detectors = [spec for spec in DETECTORS if not spec.startswith("lof")]
    return Recipe(tuple(Member(name, spec, view) for name, view in sources for spec in detectors), fusion="fisher")


def score(detection: Detection) -> float:
    """Official score in percent."""
    clips = detection.clips
    return 100 * evaluate(score_table(detection), Labels.of(clips), year_of(clips)).score


def row(store: FeatureStore, recipe: Recipe) -> list[str]:
    """Number of members, official score, and official score after the correction; a dash without two domains."""
    corrected = detect(store, replace(recipe, domains=PREDICTED))
    after = f"{score(corrected):.1f}" if corrected.domains else "-"
    return [str(len(recipe.members)), f"{score(detect(store, recipe)):.1f}", after]


def bench(name: str, store: FeatureStore) -> tuple[list[list[str]], list[str]]:
    """Rows of a store, and a line with the weights of its views."""
    rows, lines = [], []
    for views, sources in view_sets(store):
        recipe = weighted_recipe(store, sources, DETECTORS)
        old, new = row(store, former(sources)), row(store, recipe)
        rows.append([name, views, *(f"{a} -> {b}" for a, b in zip(old, new, strict=True))])
        weight = {
            member.source: max(m.weight for m in recipe.members if m.source == member.source)
            for member in recipe.members
        }
        lines.append(f"{name}, {views}: " + ", ".join(f"{source} {value:g}" for source, value in weight.items()))
    return rows, lines


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, nargs="*")
    parser.add_argument("--mimii", type=Path)
    parser.add_argument("--machines", default="fan,pump", help="of the features, in one store")
    args = parser.parse_args()
    results = [bench(path.stem, FeatureStore.open(path)) for path in args.store]
    if args.mimii:
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary)
            write_arrays(args.mimii, out)
            for snr in SNRS:
                store = import_snr(out, out / f"{snr}.store", args.machines.split(","), snr)
                results.append(bench(f"MIMII {args.machines} {snr}", store))
    print(table(["data", "views", "members", "score", "corrected"], [line for rows, _ in results for line in rows]))
    print("\n".join(["", "weights of the views", *(line for _, lines in results for line in lines)]))


if __name__ == "__main__":
    main()
