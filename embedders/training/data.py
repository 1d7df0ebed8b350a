"""Clips to batches for training: which clips, those held out, waves of one length read ahead by threads."""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from featstore.audio import AudioPolicy, RejectedAudio, read_recording
from featstore.clip import Clip
from featstore.errors import DataError

CACHE_BYTES = 2 << 30
"""Recordings that fit are decoded once and kept."""

AHEAD = 3
"""Batches being read while one is computed."""


def training_clips(clips: Sequence[Clip]) -> list[Clip]:
    """The normal recordings of the training split, in the order of their paths; never a test clip or a variant."""
    chosen = [clip for clip in clips if clip.split == "train" and clip.label != "anomaly" and not clip.variant]
    if len(chosen) < 4:
        raise DataError(f"{len(chosen)} normal training clips, expected at least 4; check the layout")
    return sorted(chosen, key=lambda clip: clip.path)


def hold_out(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Mask of the clips held out (n,): about `share` of every class, and always one in all; no class is emptied."""
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: min(round(share * len(members)), len(members) - 1)]] = True
    if not held.any() and share > 0:
        counts = Counter(labels.tolist())
        crowded = np.array([counts[label] for label in labels.tolist()])
        n = max(1, round(share * len(labels)))
        held[rng.permutation(np.flatnonzero(crowded == crowded.max()))[:n]] = True
        held &= _keeps_one(labels, held)
    return held


def _keeps_one(labels: np.ndarray, held: np.ndarray) -> np.ndarray:
    """False for the last clip of a class that would be emptied."""
    keep = np.ones(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if held[members].all():
            keep[members[-1]] = False
    return keep


def common_seconds(root: Path, clips: Sequence[Clip], sample: int = 64) -> float:
    """Commonest length among some of the recordings, rounded down to a tenth of a second."""
    import soundfile

    lengths: Counter[float] = Counter()
    for clip in clips[:: max(1, len(clips) // sample)]:
        try:
            info = soundfile.info(str(root / clip.path))
        except (soundfile.SoundFileError, OSError):
            continue
        if info.frames:
            lengths[math.floor(10 * info.frames / info.samplerate) / 10] += 1
    if not lengths or max(lengths) <= 0:
        raise DataError(f"{root}: no recording could be read; check the folder")
    return lengths.most_common(1)[0][0]


def fit(wave: np.ndarray, samples: int, rng: np.random.Generator | None) -> np.ndarray:
    """A part of a longer wave, or a shorter one repeated, from a random place on (the start without `rng`)."""
    places = len(wave) - samples + 1 if len(wave) >= samples else len(wave)
    offset = 0 if rng is None else int(rng.integers(places))
    if len(wave) >= samples:
        return wave[offset : offset + samples]
    return np.resize(np.roll(wave, -offset), samples)


class Waves:
    """Training recordings at one rate; batches (batch, samples) float32 in any order, read ahead."""

    def __init__(self, paths: Sequence[Path], rate_hz: int, samples: int, channel: str, threads: int) -> None:
        self.paths = paths
        self.rate_hz = rate_hz
        self.samples = samples
        self.policy = AudioPolicy(channel)
        self.pool = ThreadPoolExecutor(threads)
        self.kept: dict[int, np.ndarray] = {}
        self.room = CACHE_BYTES

    def read(self, i: int) -> np.ndarray:
        """The whole recording (time,)."""
        if i in self.kept:
            return self.kept[i]
        try:
            wave = read_recording(self.paths[i], self.rate_hz, self.policy).wave
        except RejectedAudio as error:
            raise DataError(f"{self.paths[i]}: {error}; take it out of the training folder") from error
        if self.room >= wave.nbytes:
            self.room -= wave.nbytes
            self.kept[i] = wave
        return wave

    def batches(self, order: Sequence[np.ndarray], seed: tuple[int, ...] | None) -> Iterator[np.ndarray]:
        """One array per entry of `order` (indices of its clips); each crop depends on seed and clip alone."""
        waiting: deque[Future[np.ndarray]] = deque()
        for indices in order:
            waiting.append(self.pool.submit(self._batch, indices, seed))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _batch(self, indices: np.ndarray, seed: tuple[int, ...] | None) -> np.ndarray:
        rngs = [None if seed is None else np.random.default_rng((*seed, int(i))) for i in indices]
        return np.stack([fit(self.read(int(i)), self.samples, rng) for i, rng in zip(indices, rngs, strict=True)])

    def close(self) -> None:
        """Stop the threads."""
        self.pool.shutdown(cancel_futures=True)
