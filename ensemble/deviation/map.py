"""The deviation map: the distance of every cell of a spectrogram from normal, for display."""

import numpy as np

from ensemble.deviation.scan import WITHIN_SCALE, excess
from ensemble.deviation.statistics import NormalSound

DURATIONS = (1, 4, 16, 64)
"""Frames over which levels are averaged, besides the whole clip."""

BANDS = 3
"""Neighbouring bands over which levels are averaged."""


def deviation(S: np.ndarray, normal: NormalSound) -> np.ndarray:
    """Robust z-scores (frames, mels) of a log-mel S (frames, mels): positive where the clip is louder than normal.

    Each cell has the z-score of largest size among averages over several durations around it, so that both a short
    impact and a faint steady hiss appear. The size is reduced by what the largest of so many averages has by chance, so
    that a normal clip is near 0 nearly everywhere. DataError for another shape.
    """
    E = _moving_mean(excess(S, normal).T, BANDS).T
    between = normal.between.diagonal()
    z = np.zeros(E.shape, dtype=np.float32)
    for frames in (*(frames for frames in DURATIONS if frames < len(E)), len(E)):
        within = np.square(WITHIN_SCALE * normal.within) * np.minimum(1, normal.memory / frames)
        scaled = _moving_mean(E, frames) / np.sqrt(between + within)
        size = np.abs(scaled) - np.sqrt(2 * np.log(len(E) / frames))
        z = np.where(size > np.abs(z), np.copysign(size, scaled), z)
    return np.asarray(z, dtype=np.float32)


def _moving_mean(rows: np.ndarray, n: int) -> np.ndarray:
    """Mean of each row and its neighbours, n in all; at the ends of as many as there are."""
    if n == len(rows):
        return np.broadcast_to(rows.mean(axis=0), rows.shape)
    sums = np.pad(rows.cumsum(axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    place = np.arange(len(rows))
    start, end = np.maximum(place - (n - 1) // 2, 0), np.minimum(place + n // 2 + 1, len(rows))
    return np.asarray((sums[end] - sums[start]) / (end - start)[:, None], dtype=np.float32)
