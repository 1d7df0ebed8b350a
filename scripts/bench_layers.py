"""Official score of log-mel statistics, crepe and mn04's layers on labelled folders, by two detectors.

    python scripts/bench_layers.py DATA [DATA ...] --mn04 PATH [--stores FOLDER]

Each DATA is a labelled folder in any layout, for example recordings at one signal-to-noise ratio. Every embedding is
built by `featstore build` and scored by `knn` (cosine, k = 1) and standardised `mahalanobis`. The Markdown table has a
column per folder and detector, with 95 % bootstrap intervals. mn04's layers are read with all bands (pool=flat);
`mn04-final` is the mean over bands of the last. Stores are kept in FOLDER where one is given; a second run reuses them.
"""

import argparse
import tempfile
from pathlib import Path

from bench_detectors import official_score, text
from click.testing import CliRunner

from ensemble.recipe import Member, Recipe
from featstore.cli import main as featstore
from featstore.store import FeatureStore

LAYERS = (3, 6, 10, 12, 15, 16)
DETECTORS = ("knn", "mahalanobis:standardize=true")
SOURCES = (
    ("logmel", "mean"),
    ("logmel", "p10"),
    ("crepe", ""),
    *(("mn04", f"l{layer}") for layer in LAYERS),
    ("mn04-final", ""),
)


def build(data: Path, store: Path, mn04: Path) -> FeatureStore:
    """The store of a folder, with all embeddings."""
    specs = {
        "logmel": "logmel:stats=mean;p10",
        "crepe": "crepe",
        "mn04": f"mn04:checkpoint={mn04},layers={';'.join(map(str, LAYERS))},pool=flat",
        "mn04-final": f"mn04={mn04}",
    }
    for name, spec in specs.items():
        done = CliRunner().invoke(featstore, ["build", str(data), str(store), "-e", spec, "--as", name])
        if done.exit_code not in (0, 3):
            raise SystemExit(done.output)
    return FeatureStore.open(store)


def main() -> None:
    """Build all stores, then measure and print row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--mn04", type=Path, required=True)
    parser.add_argument("--stores", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.stores or Path(temporary)
        stores = [build(data, folder / f"{i}-{data.name}", args.mn04) for i, data in enumerate(args.data)]
        columns = [f"{data.name}, {detector.partition(':')[0]}" for data in args.data for detector in DETECTORS]
        print(f"| embedding | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}", flush=True)
        for name, view in SOURCES:
            recipes = [Recipe((Member(name, detector, view),)) for detector in DETECTORS]
            cells = [text(official_score(store, recipe)) for store in stores for recipe in recipes]
            print(f"| {name}{'@' + view if view else ''} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
