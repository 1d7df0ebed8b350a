"""Speed of training while recordings are read, and of embedding beside a plain call of the network.

    python scripts/bench_training.py [--clips 128] [--batch 32] [--rounds 5] [--network stgram] [--device cpu]

Each round measures all rows in turn, because the speed of a machine varies; the table shows medians, and medians of
ratios within rounds, by the clock and by the processor time of all threads, which other programs disturb less.
Rows: "from files" reads from the disk, because the system's cache of the files is dropped before each epoch. "kept"
reads from the process's cache, as every epoch but the first does if the recordings fit into 2 GiB. "in memory" takes
batches from a list. "memory given back" is the same before the process is told not to return freed memory to the
system, which `featstore train` does; its rounds come first, because the setting cannot be undone.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import torch

from embedders.training.data import Waves
from embedders.training.loop import Loop
from embedders.training.request import parse_setup
from embedders.training.train import make_loop, settle
from featstore.building.memory import keep_freed_memory
from featstore.clip import Clip

RATE = 16_000
SECONDS = 10


def write_wavs(root: Path, n: int) -> list[Clip]:
    """`n` noise recordings of two machines."""
    rng = np.random.default_rng(0)
    clips = []
    for i in range(n):
        machine = ("fan", "pump")[i % 2]
        clips.append(Clip(f"{machine}_{i:04d}.wav", machine, "00", "train", "source", "normal"))
        sf.write(root / clips[-1].path, rng.uniform(-0.5, 0.5, RATE * SECONDS), RATE, subtype="PCM_16")
    return clips


def forget(paths: Iterable[Path]) -> None:
    """Drop files from the system's cache, so that the next read is from the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Cost(NamedTuple):
    """Seconds per step or clip: by the clock, and processor time of all threads."""

    wall_s: float
    cpu_s: float


def cost(work: Callable[[], None], n: int) -> Cost:
    """Cost of `work` per item, of n items."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost((time.perf_counter() - wall) / n, (time.process_time() - cpu) / n)


def run(loop: Loop, rows: list[np.ndarray], batches: Iterable[np.ndarray]) -> None:
    """Run training steps."""
    for wave, batch in zip(batches, rows, strict=True):
        loop.step(torch.from_numpy(wave), batch)


def trainings(loop: Loop, files: Waves, cached: Waves, rows: list[np.ndarray]) -> dict[str, Callable[[], Cost]]:
    """Measurements of an epoch by source of the batches."""
    batches = list(cached.batches(rows, (0, 0)))

    def from_files() -> Cost:
        forget(files.paths)
        return cost(lambda: run(loop, rows, files.batches(rows, (0, 0))), len(rows))

    return {
        "training, from files": from_files,
        "training, kept": lambda: cost(lambda: run(loop, rows, cached.batches(rows, (0, 0))), len(rows)),
        "training, in memory": lambda: cost(lambda: run(loop, rows, batches), len(rows)),
    }


def forwards(loop: Loop, waves: np.ndarray) -> dict[str, Callable[[], Cost]]:
    """Measurements of embedding as in a build, four clips at a time, and of a plain call of the network."""
    model, device = loop.state.model, loop.device

    @torch.inference_mode()
    def embed() -> None:
        model.eval()
        for first in range(0, len(waves), 4):
            batch = torch.from_numpy(waves[first : first + 4].copy()).to(device)
            model.vectors(model.network.front(batch), "embedding").float().cpu()

    @torch.no_grad()
    def plain() -> None:
        model.eval()
        for first in range(0, len(waves), 4):
            batch = torch.from_numpy(waves[first : first + 4]).to(device)
            model.network(*model.network.front(batch)).cpu()

    return {
        "forward, as a build embeds": lambda: cost(embed, len(waves)),
        "forward, plain call": lambda: cost(plain, len(waves)),
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", default="stgram")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    setup = parse_setup(args.network, (f"batch={args.batch}", "holdout=0.01"))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        clips = write_wavs(root, args.clips)
        job = settle(root, clips, setup, 2)
        paths = [root / clip.path for clip in clips]
        from_files, cached = (Waves(paths, RATE, RATE * SECONDS, "0", 2) for _ in range(2))
        from_files.cache_bytes_left = 0
        loop = make_loop(job, job.plans[0], from_files, args.device)
        order = np.random.default_rng(0).permutation(loop.train_rows)[: loop.steps * args.batch]
        rows = np.array_split(order, loop.steps)
        measures = trainings(loop, from_files, cached, rows)
        measures |= forwards(loop, np.stack([cached.read(i) for i in range(min(16, args.clips))]))
        measured: dict[str, list[Cost]] = {"training, memory given back": [], **{name: [] for name in measures}}
        for _ in range(args.rounds + 1):
            measured["training, memory given back"].append(measures["training, in memory"]())
        keep_freed_memory()
        for _ in range(args.rounds + 1):
            for name, measure in measures.items():
                measured[name].append(measure())
        from_files.close()
        cached.close()
    report(args, {name: costs[1:] for name, costs in measured.items()})  # the first round warms up


def report(args: argparse.Namespace, measured: dict[str, list[Cost]]) -> None:
    """Print medians, and medians of ratios to the last row of the same kind within rounds."""
    print(f"{args.network}, {args.clips} clips of {SECONDS} s, batches of {args.batch}, {args.rounds} rounds,", end=" ")
    print(f"{args.device}, {torch.get_num_threads()} threads\n")
    print("| what | steps/s or clips/s | speed to the last of its kind | the same by processor time |")
    print("|---|---|---|---|")
    for name, costs in measured.items():
        last = [other for other in measured if other.split(",")[0] == name.split(",")[0]][-1]
        pairs = list(zip(costs, measured[last], strict=True))
        speed = statistics.median(1 / cost.wall_s for cost in costs)
        wall = statistics.median(b.wall_s / a.wall_s for a, b in pairs)
        cpu = statistics.median(b.cpu_s / a.cpu_s for a, b in pairs)
        print(f"| {name} | {speed:.2f} | {wall:.1%} | {cpu:.1%} |")


if __name__ == "__main__":
    main()
