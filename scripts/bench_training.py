"""Does reading recordings hold up training, and embedding a plain run of the network: ratios within one run.

    python scripts/bench_training.py [--clips 128] [--batch 32] [--rounds 5] [--network stgram] [--device cpu]

Every round measures every row once, in turn, since machines are noisy; the table shows medians, and medians of ratios
within rounds: of speeds by the clock, and of processor time of all threads, which other programs disturb less. The
files' pages are dropped from the system's cache before each epoch "from files"; "kept" is every epoch but the first of
recordings that fit into 2 GiB; "in memory" takes ready batches from a list. "memory given back" is the same before the
process is told to keep what it frees, as `featstore train` does; its rounds come first, since there is no way back.
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
    """Drop files from the system's cache, so that the next read comes from the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Cost(NamedTuple):
    """Seconds of a step, or of a clip: by the clock, and of all processors."""

    wall_s: float
    cpu_s: float


def cost(work: Callable[[], None], n: int) -> Cost:
    """Cost of each of n pieces of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost((time.perf_counter() - wall) / n, (time.process_time() - cpu) / n)


def run(loop: Loop, rows: list[np.ndarray], batches: Iterable[np.ndarray]) -> None:
    """Some training steps."""
    for wave, batch in zip(batches, rows, strict=True):
        loop.step(torch.from_numpy(wave), batch)


def stages(loop: Loop, files: Waves, kept: Waves, rows: list[np.ndarray]) -> dict[str, Callable[[], Cost]]:
    """Ways to train."""
    ready = list(kept.batches(rows, (0, 0)))

    def from_files() -> Cost:
        forget(files.paths)
        return cost(lambda: run(loop, rows, files.batches(rows, (0, 0))), len(rows))

    return {
        "training, from files": from_files,
        "training, kept": lambda: cost(lambda: run(loop, rows, kept.batches(rows, (0, 0))), len(rows)),
        "training, in memory": lambda: cost(lambda: run(loop, rows, ready), len(rows)),
    }


def forwards(loop: Loop, waves: np.ndarray) -> dict[str, Callable[[], Cost]]:
    """Embedding as a build does, four clips at a time, and the network called plainly."""
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
        files, kept = ([root / clip.path for clip in clips] for _ in range(2))
        from_files, from_memory = (Waves(paths, RATE, RATE * SECONDS, "0", 2) for paths in (files, kept))
        from_files.room = 0
        loop = make_loop(job, job.plans[0], from_files, args.device)
        order = np.random.default_rng(0).permutation(loop.train_rows)[: loop.steps * args.batch]
        rows = np.array_split(order, loop.steps)
        measures = stages(loop, from_files, from_memory, rows)
        measures |= forwards(loop, np.stack([from_memory.read(i) for i in range(min(16, args.clips))]))
        measured: dict[str, list[Cost]] = {"training, memory given back": [], **{name: [] for name in measures}}
        for _ in range(args.rounds + 1):
            measured["training, memory given back"].append(measures["training, in memory"]())
        keep_freed_memory()
        for _ in range(args.rounds + 1):
            for name, measure in measures.items():
                measured[name].append(measure())
        from_files.close()
        from_memory.close()
    report(args, {name: costs[1:] for name, costs in measured.items()})  # the first round warms up


def report(args: argparse.Namespace, measured: dict[str, list[Cost]]) -> None:
    """Medians, and ratios within rounds to the last row of the same kind."""
    print(f"{args.network}, {args.clips} clips of {SECONDS} s, batches of {args.batch}, {args.rounds} rounds,", end=" ")
    print(f"{args.device}, {torch.get_num_threads()} threads\n")
    print("| what | steps/s or clips/s | speed to the last of its kind | the same by processor time |")
    print("|---|---|---|---|")
    for name, costs in measured.items():
        last = [other for other in measured if other.split(",")[0] == name.split(",")[0]][-1]
        pairs = list(zip(costs, measured[last], strict=True))
        speed = statistics.median(1 / one.wall_s for one in costs)
        wall = statistics.median(b.wall_s / a.wall_s for a, b in pairs)
        cpu = statistics.median(b.cpu_s / a.cpu_s for a, b in pairs)
        print(f"| {name} | {speed:.2f} | {wall:.1%} | {cpu:.1%} |")


if __name__ == "__main__":
    main()
