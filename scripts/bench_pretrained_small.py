"""Clips per second of the small pretrained encoders: store builds beside the plain network, on one core and two.

    OMP_NUM_THREADS=1 python scripts/bench_pretrained_small.py [--mn04 PATH] [--clips 200] [--rounds 3] [--workers 1 2]

Clips are 10 s of noise. mn04 has random weights where no PATH is given, which are as fast. The plain network reads
waves in memory, one clip at a time (on a CPU faster than a batch): the spectrogram or frames, then every published
layer as it is, without what a build does to be faster (mn04: folded normalisation, channels last). A build reads WAV
files that are in the system's cache and ends with a committed store. Rounds alternate between the two; the table shows
medians, and the median of the ratios.

Rates are per second of processor time and multiplied by the number of workers, because other programs disturb wall time
more. With one worker all runs in one process. With more, the plain network runs in as many processes, and the build
counts the processor time of all its processes: rates of cores that never wait. A build of all clips less a build of a
quarter of them is counted, without the start of processes. `--wall` takes wall time, for a machine that is idle.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from embedders import create
from embedders.pretrained.convolutional.crepe import CrepeModel
from embedders.pretrained.convolutional.crepe import build_network as build_crepe
from embedders.pretrained.convolutional.crepe_network import frames_of
from embedders.pretrained.convolutional.mn04 import build_network as build_mn04
from embedders.pretrained.convolutional.mn04_front_end import log_mel
from embedders.pretrained.convolutional.mn04_network import MN04Network
from embedders.pretrained.frozen import FrozenEncoder
from featstore.build import BuildOptions, Request, build
from featstore.clip import Clip

SECONDS = 10
BATCH = 8
HEADER = ("encoder", "files", "workers", "plain clips/s", "build clips/s", "of plain")


@lru_cache(maxsize=2)
def plain(spec: str) -> Callable[[Tensor], Tensor]:
    """The plain network of an encoder: waves (batch, time) to the last layer."""
    torch.set_num_threads(1)
    encoder = create(spec)
    assert isinstance(encoder, FrozenEncoder)
    model = encoder.model
    if isinstance(model, CrepeModel):
        crepe, hop = build_crepe(model.checkpoint, "tiny"), model.hop
        return lambda waves: crepe.embed(frames_of(waves, hop).flatten(0, 1))
    mn04 = build_mn04(model.checkpoint)  # type: ignore[attr-defined]
    return lambda waves: mn04.features(log_mel(waves)[:, None])


def processor_s() -> float:
    """Processor time of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@torch.inference_mode()
def plain_rate(spec: str, rate_hz: int, clips: int, wall: bool) -> float:
    """Clips per second of the plain network in one process."""
    clock = time.perf_counter if wall else time.process_time
    network, waves = plain(spec), 0.1 * torch.randn(1, SECONDS * rate_hz)
    network(waves)
    began = clock()
    for _ in range(clips):
        network(waves)
    return clips / (clock() - began)


def build_rate(root: Path, clips: list[Clip], spec: str, workers: int, *, wall: bool) -> float:
    """Clips per second of builds: that of all clips less that of a quarter, so that starting processes cancels out."""
    clock = time.perf_counter if wall else processor_s
    options = BuildOptions(workers=0 if workers == 1 else workers, batch=BATCH)

    def cost(part: list[Clip]) -> float:
        began = clock()
        with tempfile.TemporaryDirectory() as store:
            build(root, part, Path(store) / "store", [Request("bench", partial(create, spec))], options)
        return clock() - began

    few = clips[: len(clips) // 4]
    return (len(clips) - len(few)) / (cost(clips) - cost(few)) * (1 if wall else workers)


def write_wavs(root: Path, rate_hz: int, count: int) -> list[Clip]:
    """Write 10 s of noise per clip."""
    rng = np.random.default_rng(0)
    paths = [f"fan/train/normal_{i:04d}.wav" for i in range(count)]
    (root / "fan" / "train").mkdir(parents=True)
    for path in paths:
        soundfile.write(root / path, rng.uniform(-0.3, 0.3, SECONDS * rate_hz), rate_hz)
    return [Clip(path, "fan", "00", "train", "source", "normal") for path in paths]


def row(spec: str, root: Path, clips: list[Clip], workers: int, args: argparse.Namespace) -> tuple[float, float, float]:
    """Medians of the rates of the plain network and the build, and of their ratio."""
    rate_hz = create(spec).sample_rate_hz
    pairs = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        task = partial(plain_rate, spec, rate_hz, len(clips) // (2 * workers), args.wall)
        for _ in range(args.rounds):
            alone = sum(future.result() for future in [pool.submit(task) for _ in range(workers)])
            pairs.append((alone, build_rate(root, clips, spec, workers, wall=args.wall)))
    plain_rates, build_rates = zip(*pairs, strict=True)
    ratio = statistics.median(built / alone for alone, built in pairs)
    return statistics.median(plain_rates), statistics.median(build_rates), ratio


def main() -> None:
    """Measure, and print each row of the table when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mn04", type=Path, help="the published checkpoint; default: random weights")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        path = args.mn04
        if path is None:
            path = root / "mn04.pt"
            torch.save(MN04Network().state_dict(), path)
        files = {rate_hz: write_wavs(root / str(rate_hz), rate_hz, args.clips) for rate_hz in (32000, 16000)}
        for spec, rate_hz in ((f"mn04={path}", 32000), (f"mn04={path}", 16000), ("crepe", 16000)):
            for workers in args.workers:
                alone, built, ratio = row(spec, root / str(rate_hz), files[rate_hz], workers, args)
                cells = (spec.partition("=")[0], f"{rate_hz // 1000} kHz", workers, f"{alone:.3g}", f"{built:.3g}")
                print(f"| {' | '.join(map(str, cells))} | {ratio:.0%} |", flush=True)


if __name__ == "__main__":
    main()
