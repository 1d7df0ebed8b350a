"""Clips per second of the small pretrained encoders: store builds beside the plain network, on one core and two.

    OMP_NUM_THREADS=1 python scripts/bench_pretrained_small.py [--mn04 PATH] [--clips 200] [--rounds 3] [--workers 1 2]
        [--encoder mn04] [--encoder crepe]

Clips are 10 s of noise: DISTINCT recordings, and links to them for the other clips, so that 1,000 clips of both sample
rates take 96 MB. mn04 has random weights where no PATH is given, which are as fast. The plain network reads waves in
memory, one clip at a time (on a CPU faster than a batch): the spectrogram or frames, then every published layer as it
is, without what a build does to be faster (mn04: folded normalisation, channels last). It runs on at most PLAIN clips.
A build reads WAV files that are in the system's cache and ends with a committed store. Rounds alternate between the
two; the table shows medians, and the median of the ratios.

Rates are given twice. Those in processor time are multiplied by the number of workers: rates of cores that never wait,
which other programs hardly disturb. Those in wall time hold for a machine that is idle. With one worker all runs in one
process. With more, the plain network runs in as many processes, and the build counts the processor time of all its
processes. A build of all clips less a build of a quarter of them is counted, without the start of processes.
"""

import argparse
import resource
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
DISTINCT, PLAIN = 100, 200
ENCODERS = (("mn04", 32000), ("mn04", 16000), ("crepe", 16000))
CLOCKS = ("processor", "wall")
HEADER = (
    *("encoder", "files", "workers"),
    *(f"{column}, {clock}" for clock in CLOCKS for column in ("plain clips/s", "build clips/s", "of plain")),
)


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


def clocks() -> np.ndarray:
    """Seconds on CLOCKS: processor time of this process and of its children that have ended, and wall time."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.process_time() + ended.ru_utime + ended.ru_stime, time.perf_counter()])


@torch.inference_mode()
def plain_rate(spec: str, rate_hz: int, clips: int) -> np.ndarray:
    """Clips per second of the plain network in one process, on CLOCKS."""
    network, waves = plain(spec), 0.1 * torch.randn(1, SECONDS * rate_hz)
    network(waves)
    began = clocks()
    for _ in range(clips):
        network(waves)
    rates: np.ndarray = clips / (clocks() - began)
    return rates


def build_rate(root: Path, clips: list[Clip], spec: str, workers: int) -> np.ndarray:
    """Clips per second of builds, on CLOCKS: all clips less a quarter, so that starting processes cancels out."""
    options = BuildOptions(workers=0 if workers == 1 else workers, batch=BATCH)

    def cost(part: list[Clip]) -> np.ndarray:
        began = clocks()
        with tempfile.TemporaryDirectory() as store:
            build(root, part, Path(store) / "store", [Request("bench", partial(create, spec))], options)
        seconds: np.ndarray = clocks() - began
        return seconds

    few = clips[: len(clips) // 4]
    rates: np.ndarray = (len(clips) - len(few)) / (cost(clips) - cost(few)) * np.array([workers, 1])
    return rates


def write_wavs(root: Path, rate_hz: int, count: int) -> list[Clip]:
    """Write 10 s of noise per clip; from DISTINCT on, clips are links to the first ones."""
    rng = np.random.default_rng(0)
    paths = [f"fan/train/normal_{i:04d}.wav" for i in range(count)]
    (root / "fan" / "train").mkdir(parents=True)
    for i, path in enumerate(paths):
        if i < DISTINCT:
            soundfile.write(root / path, rng.uniform(-0.3, 0.3, SECONDS * rate_hz), rate_hz)
        else:
            (root / path).hardlink_to(root / paths[i % DISTINCT])
    return [Clip(path, "fan", "00", "train", "source", "normal") for path in paths]


def row(spec: str, root: Path, clips: list[Clip], workers: int, rounds: int) -> np.ndarray:
    """Medians (clock, 3) of the rates of the plain network and the build, and of their ratio."""
    rate_hz = create(spec).sample_rate_hz
    measured = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        task = partial(plain_rate, spec, rate_hz, max(1, min(PLAIN, len(clips) // 2) // workers))
        for _ in range(rounds):
            alone = sum(future.result() for future in [pool.submit(task) for _ in range(workers)])
            built = build_rate(root, clips, spec, workers)
            measured.append(np.stack([alone, built, built / alone], axis=1))
    medians: np.ndarray = np.median(measured, axis=0)
    return medians


def main() -> None:
    """Measure, and print each row of the table when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mn04", type=Path, help="the published checkpoint; default: random weights")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--encoder", choices=["mn04", "crepe"], action="append", help="default: both")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        path = args.mn04
        if path is None:
            path = root / "mn04.pt"
            torch.save(MN04Network().state_dict(), path)
        chosen = [(name, rate_hz) for name, rate_hz in ENCODERS if name in (args.encoder or dict(ENCODERS))]
        files = {rate_hz: write_wavs(root / str(rate_hz), rate_hz, args.clips) for rate_hz in {hz for _, hz in chosen}}
        for name, rate_hz in chosen:
            spec = f"mn04={path}" if name == "mn04" else name
            for workers in args.workers:
                medians = row(spec, root / str(rate_hz), files[rate_hz], workers, args.rounds)
                cells = [name, f"{rate_hz // 1000} kHz", str(workers)]
                cells += [text for a, b, of in medians.tolist() for text in (f"{a:.3g}", f"{b:.3g}", f"{of:.0%}")]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
