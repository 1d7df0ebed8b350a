"""Fine-tuned mn04 against the frozen one: losses, seconds per epoch and official scores on labelled folders.

    python scripts/bench_finetune_mn04.py DATA [DATA ...] --mn04 PATH [--epochs N] [--set KEY=VALUE ...]

The settings are those of the recipe mn04_arcface but for the mode: head, lora and full. `pooled` is the mean of the
final layer, as of the frozen network; `embedding` is the output of the head. Both are scored by `knn` (cosine, k = 1),
with 95 % bootstrap intervals. The kept epoch is selected by the loss of held-out normal clips. Labels of test clips are
used for the metrics only. Seconds are processor time of all threads, held-out evaluation included.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench_detectors import official_score, text
from click.testing import CliRunner

from embedders.networks.checkpoint import Trained
from embedders.networks.finetuned.finetune import MODES, FineTuneConfig, FineTuneNet
from embedders.training.request import parse_setup
from embedders.training.train import train
from ensemble.recipe import Member, Recipe
from ensemble.systems.catalogue import find_system
from featstore.cli import main as featstore
from featstore.layouts.recognise import find_clips
from featstore.store import FeatureStore

COLUMNS = ("data", "mn04", "trained numbers", "loss", "held-out loss", "kept", "s/epoch", "pooled", "embedding")


def score(data: Path, store: Path, name: str, spec: str) -> str:
    """Official score of an embedding by knn, as text."""
    done = CliRunner().invoke(featstore, ["build", str(data), str(store), "-e", spec, "--as", name])
    if done.exit_code not in (0, 3):
        raise SystemExit(done.output)
    return text(official_score(FeatureStore.open(store), Recipe((Member(name, "knn", ""),))))


def facts(trained: Trained, cpu_s: float) -> tuple[str, ...]:
    """Number of trained parameters, losses of the first and the last epoch, the kept epoch, and seconds per epoch."""
    network = FineTuneNet(FineTuneConfig(**trained.config))
    numbers = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    history = trained.facts["history"]
    losses = [f"{history[0][key]:.2f} to {history[-1][key]:.2f}" for key in ("loss", "held_out")]
    return f"{numbers:,}", *losses, f"{trained.facts['kept']} of {len(history)}", f"{cpu_s / len(history):.1f}"


def rows(data: Path, work: Path, mn04: Path, settings: list[str]) -> Iterator[tuple[str, ...]]:
    """Cells of COLUMNS: the frozen network, then each mode."""
    listing, store = find_clips(data, "auto"), work / "store"
    recipe = [f"{key}={value}" for key, value in find_system("mn04_arcface").settings.items()]
    yield data.name, "frozen", *[""] * 5, score(data, store, "frozen", f"mn04={mn04}"), ""
    for mode in reversed(MODES):
        path = work / f"{mode}.safetensors"
        setup = parse_setup("finetune", (*recipe, f"encoder=mn04={mn04}", f"mode={mode}", *settings))
        start = time.process_time()
        trained = train(listing.root, listing.clips, setup, path)
        cpu_s = time.process_time() - start
        scores = [
            score(data, store, f"{mode}-{output}", f"finetune:checkpoint={path},output={output}")
            for output in ("pooled", "embedding")
        ]
        yield data.name, mode, *facts(trained, cpu_s), *scores


def print_row(cells: tuple[str, ...]) -> None:
    """Print a line of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Train, build, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--mn04", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    args = parser.parse_args()
    print_row(COLUMNS)
    print(f"|{'---|' * len(COLUMNS)}")
    for data in args.data:
        with tempfile.TemporaryDirectory() as work:
            for row in rows(data, Path(work), args.mn04.resolve(), [f"epochs={args.epochs}", *args.settings]):
                print_row(row)


if __name__ == "__main__":
    main()
