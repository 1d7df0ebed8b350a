"""Official score of every embedding and view with every detector, and of the default ensemble, on a labelled folder.

    python scripts/bench_detectors.py DATA [--embedder logmel --embedder twfr] [--store STORE]

DATA is any layout with labels, for example the output of `featstore simulate`. Prints a Markdown table of official
scores in percent with 95 % bootstrap intervals, and compares the fixed default ensemble with its members.
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
    """Build the store with `featstore build`."""
    arguments = [item for spec in specs for item in ("-e", spec)]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        featstore(["build", str(data), str(store), *arguments])


def official_score(store: FeatureStore, recipe: Recipe) -> Cell:
    """Official score and the limits of its interval, in percent."""
    detection = detect(store, recipe)
    clips, _ = labelled(detection.clips)
    score = measure(score_table(detection), clips, year_of(clips))[1].score
    return 100 * score.value, 100 * score.low, 100 * score.high


def text(cell: Cell) -> str:
    """Score and interval as text for the table."""
    return f"{cell[0]:.1f} [{cell[1]:.0f}, {cell[2]:.0f}]"


def main() -> None:
    """Build the store, measure and print."""
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
    """Print the table, then the scores of the ensemble's members."""
    names = [f"{name}:standardize=true" for name in NAMES]
    print("| embedding | " + " | ".join(NAMES) + " |")
    print("|---|" + "---|" * len(NAMES))
    for embedding in sorted(store.embeddings):
        for view in store.info(embedding).views or ("",):
            cells = [official_score(store, Recipe((Member(embedding, name, view),))) for name in names]
            print(f"| {Member(embedding, '', view).source} | " + " | ".join(map(text, cells)) + " |")
    default = default_recipe(store)
    members = [official_score(store, Recipe((member,)))[0] for member in default.members]
    print(
        f"| **default ensemble** ({len(members)} members) | **{text(official_score(store, default))}** |"
        + " |" * (len(names) - 1)
    )
    low, middle, high = min(members), statistics.median(members), max(members)
    print(f"\nScores of its single members: worst {low:.1f}, median {middle:.1f}, best {high:.1f}.")


if __name__ == "__main__":
    main()
