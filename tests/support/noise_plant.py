"""Clips of noise for the tests of deviations: normal waves, and faults at known places."""

import numpy as np

from embedders.statistics.logmel import LogMel

RATE = 16_000
SECONDS = 4.0
EMBEDDER = LogMel(n_mels=40)
VIEWS = EMBEDDER.views


def noise(rng: np.random.Generator, n: int = 1) -> np.ndarray:
    """White noise at -40 dB with a level that varies by some 0.5 dB, float32 (n, time)."""
    level = 0.01 * 10 ** (rng.normal(0, 0.5, (n, 1)) / 20)
    return (level * rng.normal(size=(n, round(SECONDS * RATE)))).astype(np.float32)


def with_tone(wave: np.ndarray, start_s: float, end_s: float, hz: float, amplitude: float = 0.02) -> np.ndarray:
    """The wave with a tone burst."""
    t = np.arange(len(wave)) / RATE
    tone = amplitude * np.sin(2 * np.pi * hz * t) * ((t >= start_s) & (t < end_s))
    return (wave + tone).astype(np.float32)
