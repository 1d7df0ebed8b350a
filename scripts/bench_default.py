#!/usr/bin/env python3
"""The fixed default ensemble beside the one it replaced, on labelled test clips.

    python scripts/bench_default.py [STORE ...] [--mimii FOLDER [--machines fan,pump]]

STORE has labelled test clips, and the embeddings logmel (with any statistics) and twfr, as bench_selection.py builds
them. FOLDER holds the features that bench_mimii_features.py describes. Printed for every store, with all views and with
the default statistics of logmel: number of members and official score (percent) of the former default (k-NN,
Mahalanobis and a Gaussian mixture on every view, equal weights) and of `default_recipe`; the same after a simple
correction by the domain that a clip sounds like; and the weight of every view. The correction: a linear discriminant
with shrinkage on logmel@p90, standardised by section, gives the posterior q of the target domain. The log of a fused
score falls by m_s + q n / (n + 3) (m_t - m_s), where m_s and m_t are the section's medians over training clips of the
two domains, and n is the number of target clips.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_mimii_features import write_arrays
from bench_selection_mimii import SNRS, import_snr

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.scores import ScoreTable
from embedders.statistics.logmel import LogMel
from ensemble.defaults import DETECTORS, weighted_recipe
from ensemble.output import year_of
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from featstore.console import table
from featstore.store import FeatureStore
from featstore.table import ClipTable

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


def score(detection: Detection, scores: np.ndarray) -> float:
    """Official score in percent."""
    clips = detection.clips
    scored = ScoreTable("", tuple(clips.keys()), scores)
    return 100 * evaluate(scored, Labels.of(clips), year_of(clips)).score


def corrected(store: FeatureStore, detection: Detection) -> np.ndarray | None:
    """Log scores corrected by the predicted domain; None without domains or logmel@p90."""
    domains = set(np.unique(detection.train.column("domain")).tolist())
    if not {"source", "target"} <= domains or "p90" not in (store.info("logmel").views or ()):
        return None
    scores, reference = (-np.log1p(-np.asarray(side)) for side in (detection.score, detection.reference))
    target, posterior = detection.train.column("domain") == "target", predicted(store, detection)
    out = np.empty(len(scores))
    for machine, section in detection.clips.sections():
        train, test = (each.where(machine=machine, section=section) for each in (detection.train, detection.clips))
        middle, n = np.median(reference[train & ~target]), np.count_nonzero(train & target)
        shift = n / (n + 3) * (np.median(reference[train & target]) - middle) if n else 0.0
        out[test] = scores[test] - middle - posterior[test] * shift
    return out


def predicted(store: FeatureStore, detection: Detection) -> np.ndarray:
    """Posterior probability (m,) of the target domain, from the training clips of the machine."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rows = {key: i for i, key in enumerate(store.clips("logmel").keys())}
    p90 = store.matrix("logmel")[:, store.info("logmel").views.index("p90")].astype(np.float64)

    def standardised(clips: ClipTable) -> np.ndarray:
        keys = clips.keys()
        X = p90[[rows[key] for key in keys]]
        for machine, section in clips.sections():
            bank = detection.train[detection.train.where(machine=machine, section=section)].keys()
            normal = p90[[rows[key] for key in bank]]
            here = clips.where(machine=machine, section=section)
            X[here] = (X[here] - normal.mean(axis=0)) / (normal.std(axis=0) + 1e-6)
        return X

    train, test, out = standardised(detection.train), standardised(detection.clips), np.zeros(len(detection.clips))
    is_target = detection.train.column("domain") == "target"
    for machine in {machine for machine, _ in detection.clips.sections()}:
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
        own, here = detection.train.where(machine=machine), detection.clips.where(machine=machine)
        out[here] = model.fit(train[own], is_target[own]).predict_proba(test[here])[:, 1]
    return out


def row(store: FeatureStore, recipe: Recipe) -> list[str]:
    """Number of members, official score, and official score after the correction."""
    detection = detect(store, recipe)
    shifted = corrected(store, detection) if "logmel" in store.embeddings else None
    after = "-" if shifted is None else f"{score(detection, shifted):.1f}"
    return [str(len(recipe.members)), f"{score(detection, detection.score):.1f}", after]


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
