"""Data of a training: its clips, the held-out clips, and batches of waves that threads read ahead."""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from embedders.training.confirmed import is_confirmed
from featstore.audio.lengths import clip_seconds
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip
from featstore.clip import Clip
from featstore.errors import DataError, RejectedAudio

CACHE_BYTES = 2 << 30
"""Decoded recordings are cached up to this size."""

AHEAD = 3
"""Batches that are read in advance."""


def training_clips(clips: Sequence[Clip], *, faults: bool = False) -> list[Clip]:
    """Normal recordings of the training split, sorted by path; never test clips or generated variants.

    faults: with the recordings that a person confirmed as faults, which must then exist.
    """
    chosen = [clip for clip in clips if clip.split == "train" and clip.label != "anomaly" and not clip.variant]
    confirmed = [clip for clip in clips if is_confirmed(clip)] if faults else []
    if faults and not confirmed:
        raise DataError("there are no confirmed faults of these machines to learn from; add --set faults=FAULTS.csv")
    if len(chosen) < 4:
        raise DataError(f"got {len(chosen)} normal training clips, expected at least 4; check the layout")
    return sorted([*chosen, *confirmed], key=lambda clip: clip.path)


def balanced(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many of the `rows`, drawn so that every class of `labels` (one for each row) is equally frequent."""
    _, number, size = np.unique(labels, return_inverse=True, return_counts=True)
    weight = 1 / size[number]
    return rng.choice(rows, size=len(rows), p=weight / weight.sum())


def hold_out(
    labels: np.ndarray,
    share: float,
    rng: np.random.Generator,
    *,
    recordings: Sequence[str] = (),
    every_class: bool = False,
) -> np.ndarray:
    """Mask of held-out clips (n,): about `share` of each class and at least one clip; each class keeps a clip.

    recordings: the recording of every clip, where clips may be windows. Windows of one recording are held out together,
    unless no recording can be held out because each class has a single one. every_class: hold out at least one
    recording of every class that has two or more.
    """
    if len(recordings):
        number: dict[str, int] = {}
        unit = np.array([number.setdefault(name, len(number)) for name in recordings])
        _, first = np.unique(unit, return_index=True)
        held: np.ndarray = _held(labels[first], share, rng, every_class)[unit]
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            if held[members].all():
                held[unit == unit[members[-1]]] = False
        if held.any():
            return held
    return _held(labels, share, rng, every_class)


def _held(labels: np.ndarray, share: float, rng: np.random.Generator, every_class: bool) -> np.ndarray:
    """Mask of held-out recordings (n,)."""
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        n = max(round(share * len(members)), int(every_class))
        held[members[: min(n, len(members) - 1)]] = True
    if not held.any() and share > 0:
        counts = Counter(labels.tolist())
        class_size = np.array([counts[label] for label in labels.tolist()])
        n = max(1, round(share * len(labels)))
        held[rng.permutation(np.flatnonzero(class_size == class_size.max()))[:n]] = True
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            if held[members].all():
                held[members[-1]] = False
    return held


def common_seconds(root: Path, clips: Sequence[Clip], sample: int = 64) -> float:
    """Most frequent length among about `sample` clips, in seconds, rounded down to a tenth."""
    lengths: Counter[float] = Counter()
    for clip in clips[:: max(1, len(clips) // sample)]:
        if seconds := clip_seconds(root, clip.path):
            lengths[math.floor(10 * seconds + 1e-6) / 10] += 1
    if not lengths or max(lengths) <= 0:
        raise DataError(f"{root}: none of the recordings could be read; check the folder")
    return lengths.most_common(1)[0][0]


def fit(wave: np.ndarray, samples: int, rng: np.random.Generator | None) -> np.ndarray:
    """Crop a longer wave, or repeat a shorter one, from a random offset; without `rng` from its start."""
    n_offsets = len(wave) - samples + 1 if len(wave) >= samples else len(wave)
    offset = 0 if rng is None else int(rng.integers(n_offsets))
    if len(wave) >= samples:
        return wave[offset : offset + samples]
    return np.resize(np.roll(wave, -offset), samples)


class Waves:
    """Clips at one sample rate, as batches (batch, samples) float32 in any order, read ahead by threads.

    A path may name a window of a recording.
    """

    def __init__(self, paths: Sequence[Path], rate_hz: int, samples: int, channel: str, threads: int) -> None:
        self.paths = paths
        self.rate_hz = rate_hz
        self.samples = samples
        self.policy = AudioPolicy(channel)
        self.pool = ThreadPoolExecutor(threads)
        self.cache: dict[int, np.ndarray] = {}
        self.cache_bytes_left = CACHE_BYTES

    def read(self, i: int) -> np.ndarray:
        """Read the whole clip (time,)."""
        if i in self.cache:
            return self.cache[i]
        try:
            wave = read_clip(Path(), str(self.paths[i]), self.rate_hz, self.policy).wave
        except RejectedAudio as error:
            raise DataError(f"{self.paths[i]}: {error}; remove it from the training data") from error
        if self.cache_bytes_left >= wave.nbytes:
            self.cache_bytes_left -= wave.nbytes
            self.cache[i] = wave
        return wave

    def batches(self, order: Sequence[np.ndarray], seed: tuple[int, ...] | None) -> Iterator[np.ndarray]:
        """One array for each entry of `order` (indices of clips); crops depend on seed and clip only."""
        pending: deque[Future[np.ndarray]] = deque()
        for indices in order:
            pending.append(self.pool.submit(self._batch, indices, seed))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _batch(self, indices: np.ndarray, seed: tuple[int, ...] | None) -> np.ndarray:
        rngs = [None if seed is None else np.random.default_rng((*seed, int(i))) for i in indices]
        return np.stack([fit(self.read(int(i)), self.samples, rng) for i, rng in zip(indices, rngs, strict=True)])

    def close(self) -> None:
        """Stop the threads."""
        self.pool.shutdown(cancel_futures=True)
