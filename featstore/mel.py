"""Mel scales (Hz to mel and back) and triangular filters; numpy only."""

from collections.abc import Callable

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]


def slaney_mel(hz: np.ndarray) -> np.ndarray:
    """Hz to mel: linear to 1 kHz (3 mel per 200 Hz), then 27 mel per factor 6.4 (Slaney's Auditory Toolbox)."""
    return np.where(hz < 1000, hz * 0.015, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def slaney_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `slaney_mel`."""
    return np.where(mel < 15, mel / 0.015, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


def htk_mel(hz: np.ndarray) -> np.ndarray:
    """Hz to mel as in HTK."""
    return np.asarray(2595 * np.log10(1 + hz / 700))


def htk_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `htk_mel`."""
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


def kaldi_mel(hz: np.ndarray) -> np.ndarray:
    """Hz to mel as in Kaldi."""
    return np.asarray(1127 * np.log1p(hz / 700))


MEL_SCALES: dict[str, tuple[Curve, Curve]] = {"slaney": (slaney_mel, slaney_hz), "htk": (htk_mel, htk_hz)}
"""Hz to mel and its inverse, by the names of the setting `mel_scale`."""


def triangles(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Triangular filters with peak 1 between neighbouring edges (n + 2,), at points (m,): (n, m)."""
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (points - left) / (centre - left), (right - points) / (right - centre)
    weights: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    return weights
