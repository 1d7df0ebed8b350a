"""Rectangles of a spectrogram that deviate most from normal: a matched filter over durations, positions and bands.

The mean over T frames of a normal clip deviates by `between + within * min(1, memory / T)`: a covariance over bands
for each duration. A shift of equal size in the bands u has the most powerful statistic u'Pd / sqrt(u'Pu), with d the
deviation and P the inverse covariance. It is a z-score: neighbouring bands that vary together count as one, and a
change against their usual pattern stands out. Sums over all bands come from cumulative sums.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ensemble.deviation.statistics import NormalSound
from featstore.errors import DataError

DURATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Frames of the rectangles, besides the whole clip."""

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
"""Bands of the rectangles that are searched first, besides all of them; the best one then gets its exact bands."""

PENALTY = 2.0
"""There are many small rectangles, so the largest z-score is far from 0 by chance. This many times the expected
maximum is subtracted from each z-score before scales are compared; a second rectangle needs more than that. Frames
are not Gaussian, so 1 is too little (measured)."""

LEAST_Z = 3.0
"""A deviation of fewer spreads is not reported."""

LEAST_DB = 1.0
"""A mean level that differs by less is hardly audible, and not reported even if it is unusual."""

WITHIN_SCALE = 1.25
"""Factor of the spread within a clip, for the variation that five statistics do not show (measured)."""


@dataclass(frozen=True)
class Box:
    """A rectangle of frames and mel bands, ends excluded.

    excess_db: mean above normal. z: its matched-filter score, without sign. rank: the same less its PENALTY.
    """

    frames: tuple[int, int]
    bands: tuple[int, int]
    excess_db: float
    z: float
    rank: float

    def meets(self, other: "Box") -> bool:
        """Whether two rectangles have a cell in common."""
        pairs = ((self.frames, other.frames), (self.bands, other.bands))
        return all(a[0] < b[1] and b[0] < a[1] for a, b in pairs)


@dataclass(frozen=True, eq=False)
class Filter:
    """Matched filter of one duration: P (mels, mels), and 1 / sqrt(u'Pu) (mels + 1, mels + 1) of the bands i up to j.

    The values for i >= j mean nothing. units: those of each width in turn, by the first band.
    """

    frames: int
    precision: np.ndarray
    unit: np.ndarray
    units: tuple[tuple[int, np.ndarray], ...]

    @classmethod
    def of(cls, normal: NormalSound, frames: int) -> "Filter":
        """The filter that follows from the statistics of normal clips."""
        within = np.square(WITHIN_SCALE * normal.within) * np.minimum(1, normal.memory / frames)
        precision = np.linalg.inv(normal.between + np.diag(within))
        sums = np.pad(precision, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
        squares = sums.diagonal()[:, None] + sums.diagonal() - sums - sums.T
        np.fill_diagonal(squares, np.inf)  # no bands
        unit = (1 / np.sqrt(squares)).astype(np.float32)
        mels = len(precision)
        widths = (*(width for width in WIDTHS if width < mels), mels)
        units = tuple((width, unit.diagonal(width).copy()) for width in widths)
        return cls(frames, precision.astype(np.float32), unit, units)


@lru_cache(maxsize=16)
def filters(normal: NormalSound, n_frames: int) -> tuple[Filter, ...]:
    """The filters of every duration up to that of the clip."""
    durations = [frames for frames in DURATIONS if frames < n_frames]
    return tuple(Filter.of(normal, frames) for frames in (*durations, n_frames))


def excess(S: np.ndarray, normal: NormalSound) -> np.ndarray:
    """Log-mel S (frames, mels) above the nearest level of normal clips, in dB; DataError for another shape."""
    if S.ndim != 2 or not len(S) or S.shape[1] != normal.level.shape[1] or not np.isfinite(S).all():
        raise DataError(f"expected a finite log-mel (frames, {normal.level.shape[1]} bands), got {S.shape}")
    return np.asarray(S - normal.nearest_level(S.mean(axis=0)), dtype=np.float32)


def boxes(S: np.ndarray, normal: NormalSound, most: int = 2) -> list[Box]:
    """Up to `most` rectangles of the log-mel S (frames, mels) that have no cell in common, the strongest first."""
    E = excess(S, normal)
    sums = np.pad(E.cumsum(axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    candidates = [(box, matched) for matched in filters(normal, len(E)) for box in _candidates(sums, matched)]
    chosen: list[Box] = []
    for box, matched in sorted(candidates, key=lambda pair: -pair[0].rank):
        if len(chosen) == most:
            break
        if box.z < LEAST_Z or (chosen and box.rank <= 0) or any(box.meets(other) for other in chosen):
            continue
        exact = _with_exact_bands(box, sums, matched)
        chosen.append(box if any(exact.meets(other) for other in chosen) else exact)
    return chosen


def _candidates(sums: np.ndarray, matched: Filter) -> Iterator[Box]:
    """The strongest rectangles of one duration, for each width the best one and the best one at another time."""
    n_frames, mels, frames = len(sums) - 1, sums.shape[1], matched.frames
    starts = np.unique(np.append(np.arange(0, n_frames - frames + 1, max(1, frames // 4)), n_frames - frames))
    means = ((sums[starts + frames] - sums[starts]) / frames).astype(np.float32)
    plain, filtered = _cumulated(means), _cumulated(means @ matched.precision)
    for width, unit in matched.units:
        shift = plain[:, width:] - plain[:, :-width]
        z = (filtered[:, width:] - filtered[:, :-width]) * unit
        agreeing = _audible(np.copysign(z, z * shift), shift, width)
        bands = agreeing.argmax(axis=1)
        best = agreeing[np.arange(len(z)), bands]
        taken_off = _penalty(n_frames / frames * mels / width)
        for row in _best_and_apart(best, starts, frames):
            start, low = int(starts[row]), int(bands[row])
            level, strength = float(shift[row, low]) / width, float(best[row])
            yield Box((start, start + frames), (low, low + width), level, strength, strength - taken_off)


def _best_and_apart(best: np.ndarray, starts: np.ndarray, frames: int) -> list[int]:
    """The row of the highest value, and that of the highest value at a time that does not meet it, if there is one."""
    first = int(best.argmax())
    apart = np.abs(starts - starts[first]) >= frames
    return [first, int(np.where(apart, best, -np.inf).argmax())] if apart.any() else [first]


def _with_exact_bands(box: Box, sums: np.ndarray, matched: Filter) -> Box:
    """The rectangle with the bands of the highest rank at its time, among those that are reported at all.

    Bands that hardly differ have a z-score of 0, and wide ones nearly no penalty: they would win over a faint one.
    """
    start, end = box.frames
    mean = (sums[end] - sums[start]) / (end - start)
    plain, filtered = (_cumulated(row[None])[0] for row in (mean, mean @ matched.precision))
    shift = plain[None, :] - plain[:, None]
    z = (filtered[None, :] - filtered[:, None]) * matched.unit
    width = np.arange(len(plain))[None, :] - np.arange(len(plain))[:, None]
    z = _audible(np.copysign(z, z * shift), shift, width)
    rank = z - _penalty((len(sums) - 1) / (end - start) * len(mean) / np.maximum(width, 1))
    reported = (width > 0) & (z >= LEAST_Z)
    if not reported.any():
        return box
    low, high = np.unravel_index(np.where(reported, rank, -np.inf).argmax(), rank.shape)
    bands = (int(low), int(high))
    return Box(box.frames, bands, float(shift[bands] / width[bands]), float(z[bands]), float(rank[bands]))


def _audible(z: np.ndarray, shift: np.ndarray, width: np.ndarray | int) -> np.ndarray:
    """Scores z >= 0, and 0 where the mean level hardly differs.

    z is negative where bands are unusual beside their neighbours, but not louder (or quieter) themselves.
    """
    return np.where(np.abs(shift) >= LEAST_DB * np.asarray(width), np.maximum(z, 0), 0)


def _cumulated(rows: np.ndarray) -> np.ndarray:
    """Sums over the first 0, 1, ... bands of rows (n, mels): (n, mels + 1)."""
    sums = np.zeros((len(rows), rows.shape[1] + 1), dtype=rows.dtype)
    np.cumsum(rows, axis=1, out=sums[:, 1:])
    return sums


def _penalty(places: Any) -> Any:
    """What is taken off the z-scores of rectangles that have so many places in the spectrogram."""
    return PENALTY * np.sqrt(2 * np.log(places))
