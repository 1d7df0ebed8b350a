"""Time and frequency axes of a simulated recording, and its random numbers."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

N_BANDS = 800  # stationary noise is shaped in this many equal bands up to the Nyquist frequency
CONTROL_HZ = 200  # rate of the control points of envelopes and speeds
TABLE_SIZE = 8192  # samples of one revolution


def rng_of(*key: object) -> np.random.Generator:
    """Random generator that depends on `key` alone, not on earlier calls."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16], "little")))


@dataclass(frozen=True)
class Grid:
    """Time and frequency axes: `n` samples (a fast FFT length) at `rate_hz`."""

    n: int
    rate_hz: int

    @property
    def nyquist_hz(self) -> float:
        """Half the sample rate."""
        return self.rate_hz / 2

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n / self.rate_hz

    @property
    def bands_hz(self) -> np.ndarray:
        """Centre of every noise band, (N_BANDS,)."""
        return (np.arange(N_BANDS) + 0.5) * self.nyquist_hz / N_BANDS

    @property
    def control_s(self) -> np.ndarray:
        """Times of the control points in seconds, one more than the samples need."""
        block = self.rate_hz // CONTROL_HZ
        return np.arange(self.n // block + 2) * (block / self.rate_hz)

    def rippled(self, weights_db: np.ndarray) -> np.ndarray:
        """Smooth gain per band: a sum of cosines over the logarithm of the frequency, with these weights (n,)."""
        octave = np.log2(self.bands_hz / 40) / np.log2(self.nyquist_hz / 40)
        ripple = np.cos(np.pi * np.outer(np.arange(1, len(weights_db) + 1), octave))
        return np.asarray(10 ** (weights_db @ ripple / 20))

    def spread(self, bands: np.ndarray) -> np.ndarray:
        """The value of its noise band for every FFT bin, (n // 2 + 1,)."""
        return np.asarray(bands.astype(np.float32)[_band_of_bin(self.n)])

    def upsample(self, control: np.ndarray) -> np.ndarray:
        """Linear interpolation of control points, one value per sample, float64 (n,)."""
        block = self.rate_hz // CONTROL_HZ
        ramp = np.arange(block) / block
        return (control[:-1, None] + np.diff(control)[:, None] * ramp).ravel()[: self.n]


@lru_cache(maxsize=4)
def _band_of_bin(n: int) -> np.ndarray:
    bins = n // 2 + 1
    return np.minimum(np.arange(bins) * N_BANDS // (bins - 1), N_BANDS - 1)


def look_up(table: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Values of one revolution, (TABLE_SIZE,), at every angle in revolutions, (n,)."""
    return np.asarray(table[(angle * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)])
