"""Clips per second of a build and of each of its stages on ten-second WAVs, beside librosa one clip at a time.

    python scripts/bench_build.py [--clips 1000] [--rounds 3] [--embedder logmel]

Every round measures every row; the table shows medians and ratios of rates taken in the same round, since machines are
noisy. Decode and features run alone on all cores, in the very processes a build uses; "build" is the whole thing from
WAV files to a committed store, once workers are up ("start" is what that takes, once per build).
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile as sf

import embedders
from featstore.audio import read
from featstore.audio.measure import UNKNOWN
from featstore.audio.policy import AudioPolicy
from featstore.build import BuildOptions, Progress, Request, build
from featstore.building.cores import cores
from featstore.building.plan import FileState
from featstore.building.pool import Pool
from featstore.building.work import Embedder, Job, Task
from featstore.clip import Clip
from featstore.store import EmbeddingInfo, ShardData, StoreWriter
from featstore.table import ClipTable

RATE = 16_000
SECONDS = 10
TASK = 16


@dataclass(frozen=True)
class DecodeOnly:
    """Stands in for an embedder, so that a worker does nothing but read."""

    name: str = "decode"
    fingerprint: str = "decode"
    sample_rate_hz: int = RATE
    shape: tuple[int, ...] = (1,)
    views: tuple[str, ...] = ()
    min_samples: int = 1

    @property
    def config(self) -> Mapping[str, object]:
        """Nothing to configure."""
        return {}

    def embed(self, waves: np.ndarray) -> np.ndarray:
        """One number per wave, nearly free."""
        return waves[:, :1].copy()


@dataclass
class FeaturesOnly:
    """Embeds waves that are in memory already, as often as the file it is asked to read instead."""

    inner: Embedder

    def rates(self, clips: int) -> float:
        """Clips per second of one process."""
        waves = np.random.default_rng(0).uniform(-0.5, 0.5, (TASK, RATE * SECONDS)).astype(np.float32)
        self.inner.embed(waves[:4])
        start = time.perf_counter()
        for _ in range(max(1, clips // TASK)):
            for first in range(0, TASK, 4):
                self.inner.embed(waves[first : first + 4])
        return max(1, clips // TASK) * TASK / (time.perf_counter() - start)


def features_in_process(spec: str, clips: int) -> float:
    """Run in a spawned worker."""
    return FeaturesOnly(embedders.create(spec)).rates(clips)


def write_wavs(root: Path, n: int) -> list[Clip]:
    """`n` noise recordings of one machine."""
    rng = np.random.default_rng(0)
    (root / "fan").mkdir(parents=True)
    clips = [Clip(f"fan/{i:05d}.wav", "fan", "00", "train", "source", "normal") for i in range(n)]
    for clip in clips:
        sf.write(root / clip.path, rng.uniform(-0.5, 0.5, RATE * SECONDS), RATE, subtype="PCM_16")
    return clips


def decode_rate(root: Path, clips: list[Clip], workers: int) -> float:
    """Reading alone, on all cores."""
    pool = Pool(Job(root, AudioPolicy(), (DecodeOnly,), 4), workers)
    tasks = [Task(tuple(clip.path for clip in clips[i : i + TASK]), (0,)) for i in range(0, len(clips), TASK)]
    for pending in [pool.submit(task) for task in tasks[: 2 * workers]]:  # processes are up after this
        pool.result(pending)
    start = time.perf_counter()
    for pending in [pool.submit(task) for task in tasks]:
        pool.result(pending)
    elapsed = time.perf_counter() - start
    pool.close()
    return len(clips) / elapsed


def features_rate(spec: str, clips: int, workers: int) -> float:
    """Features alone, on all cores: the sum over simultaneous single-threaded processes."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        for future in [executor.submit(features_in_process, spec, TASK) for _ in range(workers)]:
            future.result()  # both are up and warm
        return sum(executor.map(features_in_process, [spec] * workers, [clips // workers] * workers))


def write_rate(store: Path, clips: list[Clip], info: EmbeddingInfo) -> float:
    """Committing finished rows, one shard per 512."""
    matrix = np.random.default_rng(0).normal(size=(len(clips), *info.shape)).astype(np.float32)
    start = time.perf_counter()
    with StoreWriter(store) as writer:
        for i in range(0, len(clips), 512):
            table = ClipTable.from_clips(clips[i : i + 512])
            writer.commit([ShardData(info=info, clips=table, matrix=matrix[i : i + 512], facts={}, rejected=[])])
    return len(clips) / (time.perf_counter() - start)


def build_rate(root: Path, clips: list[Clip], store: Path, spec: str, workers: int) -> tuple[float, float]:
    """Clips per second of a whole build once all workers are up, and the seconds it takes beside that.

    Under way is from a fifth of the clips to the last one; the rest of the wall time, stretched to all clips, is what
    every build pays once: starting processes, loading libraries, stopping.
    """
    marks: list[tuple[float, int]] = []

    def mark(progress: Progress) -> None:
        marks.append((time.perf_counter(), progress.done))

    begun = time.perf_counter()
    options = BuildOptions(workers=workers)
    build(root, clips, store, [Request(spec, partial(embedders.create, spec))], options, report=mark)
    ended = time.perf_counter()
    first_at, first_done = next(one for one in marks if one[1] >= len(clips) / 5)
    rate = (len(clips) - first_done) / (marks[-1][0] - first_at)
    return rate, ended - begun - len(clips) / rate


def measuring_share(root: Path, clips: list[Clip], store: Path, spec: str) -> float:
    """Processor time of a build in this process, over that of the same build without the measures of acquisition."""
    requests, options = [Request(spec, partial(embedders.create, spec))], BuildOptions(workers=0)
    seconds = []
    for measuring in (read.measure, lambda wave, rate_hz: UNKNOWN):
        with patch.object(read, "measure", measuring):
            start = time.process_time()
            build(root, clips, store, requests, options)
            seconds.append(time.process_time() - start)
        shutil.rmtree(store)
    return seconds[0] / seconds[1] - 1


def librosa_rate(root: Path, clips: list[Clip], spec: str) -> float:
    """The same statistics from librosa's mel spectrogram, one clip at a time in one process."""
    import librosa

    def one(clip: Clip) -> np.ndarray:
        wave, _ = librosa.load(root / clip.path, sr=None)
        mel = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=1024, hop_length=512, n_mels=128)
        level = librosa.power_to_db(mel, top_db=None)
        if spec.startswith("twfr"):
            ordered = -np.sort(-level, axis=1)
            weights = np.power.outer(np.array([1.0, 0.99, 0.95, 0.9, 0.5, 0.0]), np.arange(level.shape[1]))
            return (weights / weights.sum(axis=1, keepdims=True)) @ ordered.T
        quantiles = np.quantile(level, [0.1, 0.5, 0.9, 1.0], axis=1)
        return np.concatenate([level.mean(1)[None], level.std(1)[None], quantiles])

    one(clips[0])
    some = clips[: max(50, len(clips) // 5)]
    start = time.perf_counter()
    for clip in some:
        one(clip)
    return len(some) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embedder", default="logmel")
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    workers = cores()
    embedder = embedders.create(args.embedder)
    info = EmbeddingInfo("bench", embedder.shape, "float32", "bench", {}, embedder.views, RATE, "0", "native")
    measured: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        clips = write_wavs(root, args.clips)
        stages: dict[str, Callable[[], float]] = {
            "decode": lambda: decode_rate(root, clips, workers),
            "features": lambda: features_rate(args.embedder, args.clips, workers),
            "write": lambda: write_rate(root / "write", clips, info),
            "librosa": lambda: librosa_rate(root, clips, args.embedder),
        }
        for _ in range(args.rounds):
            for name, stage in stages.items():
                measured.setdefault(name, []).append(stage())
            rate, start = build_rate(root, clips, root / "store", args.embedder, workers)
            measured.setdefault("build", []).append(rate)
            measured.setdefault("start", []).append(start)
            for name in ("store", "write"):
                shutil.rmtree(root / name)
            share = measuring_share(root, clips[: len(clips) // 4], root / "store", args.embedder)
            measured.setdefault("measuring", []).append(share)
        assert FileState.of(root / clips[0].path).size_bytes > 0
    report(args.embedder, args.clips, workers, measured)


def report(embedder: str, clips: int, workers: int, measured: dict[str, list[float]]) -> None:
    """Medians, and ratios within rounds."""
    slower = [min(pair) for pair in zip(measured["decode"], measured["features"], strict=True)]
    labels = {
        "decode": f"decode alone, {workers} processes",
        "features": f"{embedder} alone, {workers} processes",
        "write": "write and commit alone, 1 process",
        "build": f"build, WAV files to store, {workers} workers",
        "librosa": "librosa, one clip at a time",
    }
    both = [1 / (1 / a + 1 / b) for a, b in zip(measured["decode"], measured["features"], strict=True)]
    once = statistics.median(measured["start"])
    print(f"{clips} clips of {SECONDS} s, {len(slower)} rounds; every build pays {once:.1f} s once\n")
    print("| stage | clips/s | audio-hours/s | of the slower stage | of both stages on shared cores | of librosa |")
    print("|---|---|---|---|---|---|")
    for name, label in labels.items():
        of_slower = statistics.median(a / b for a, b in zip(measured[name], slower, strict=True))
        of_librosa = statistics.median(a / b for a, b in zip(measured[name], measured["librosa"], strict=True))
        of_both = statistics.median(a / b for a, b in zip(measured[name], both, strict=True))
        rate = statistics.median(measured[name])
        shares = f"{of_slower:.0%} | {of_both:.0%} | {of_librosa:.1f}x"
        print(f"| {label} | {rate:,.0f} | {rate * SECONDS / 3600:.2f} | {shares} |")
    share = statistics.median(measured["measuring"])
    print(f"\nmeasuring how clips were recorded adds {share:.0%} to the processor time of a build without anomalies")


if __name__ == "__main__":
    main()
