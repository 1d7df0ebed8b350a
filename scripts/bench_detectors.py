"""Every shipped embedder and view x every shipped detector, and the default ensemble, on one labelled folder.

    python scripts/bench_detectors.py DATA [--embedder logmel --embedder twfr] [--store STORE]

DATA is any layout with labels, e.g. the output of `featstore simulate`. Prints a Markdown matrix of official scores in
percent with 95 % bootstrap intervals, and how the fixed default ensemble stands among its members.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
from pathlib import Path

from detectors import DETECTORS, SPECIAL
from ensemble.defaults import default_recipe
from ensemble.output import labelled, measure, score_table, year_of
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.cli import main as featstore
from featstore.store import FeatureStore

NAMES = [name for name in DETECTORS if name not in SPECIAL]
Cell = tuple[float, float, float]


def build(data: Path, store: Path, specs: list[str]) -> None:
    """The store, as the command makes it."""
    arguments = [item for spec in specs for item in ("-e", spec)]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        featstore(["build", str(data), str(store), *arguments])


def figure(store: FeatureStore, recipe: Recipe) -> Cell:
    """Official score and interval, in percent."""
    detection = detect(store, recipe)
    clips, _ = labelled(detection.clips)
    score = measure(score_table(detection), clips, year_of(clips))[1].score
    return 100 * score.value, 100 * score.low, 100 * score.high


def shown(cell: Cell) -> str:
    """Value and interval as they stand in the table."""
    return f"{cell[0]:.1f} [{cell[1]:.0f}, {cell[2]:.0f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", action="append", default=[])
    parser.add_argument("--store", type=Path)
    args = parser.parse_args()
    specs = args.embedder or ["logmel", "twfr"]
    with tempfile.TemporaryDirectory() as temporary:
        path = args.store or Path(temporary, "store")
        build(args.data, path, specs)
        report(FeatureStore.open(path))


def report(store: FeatureStore) -> None:
    """The matrix, then the ensemble among its members."""
    names = [f"{name}:standardize=true" for name in NAMES]
    print("| embedding | " + " | ".join(NAMES) + " |")
    print("|---|" + "---|" * len(NAMES))
    for embedding in sorted(store.embeddings):
        for view in store.info(embedding).views or ("",):
            cells = [figure(store, Recipe((Member(embedding, name, view),))) for name in names]
            print(f"| {Member(embedding, '', view).source} | " + " | ".join(map(shown, cells)) + " |")
    default = default_recipe(store)
    members = [figure(store, Recipe((member,)))[0] for member in default.members]
    print(
        f"| **default ensemble** ({len(members)} members) | **{shown(figure(store, default))}** |"
        + " |" * (len(names) - 1)
    )
    low, middle, high = min(members), statistics.median(members), max(members)
    print(f"\nIts members one by one: worst {low:.1f}, median {middle:.1f}, best {high:.1f}.")


if __name__ == "__main__":
    main()
