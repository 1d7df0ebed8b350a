"""Short-time spectra of a long wave, block by block, and the wave of changed spectra."""

from collections.abc import Iterator

import numpy as np

BLOCK = 256
"""Frames of a block: memory is bounded by this and not by the length of a recording."""


class Frames:
    """Centred frames with a periodic Hann window and half overlap: exact overlap-add for any length.

    size: samples of a frame, even. At both ends the wave is mirrored (padded with zeros where it is too short).
    """

    def __init__(self, size: int) -> None:
        self.size, self.hop = size, size // 2
        self.window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)

    def count(self, samples: int) -> int:
        """Number of frames of a wave."""
        return 1 + -(-samples // self.hop)

    def spectra(self, wave: np.ndarray, first: int, last: int) -> np.ndarray:
        """Complex spectra (frames, bins) of the frames from `first` up to `last` of a wave (time,)."""
        start, end = first * self.hop - self.hop, (last - 1) * self.hop + self.hop
        part = _mirrored(wave, start, end).astype(np.float64)
        rows = np.lib.stride_tricks.sliding_window_view(part, self.size)[:: self.hop]
        return np.asarray(np.fft.rfft(rows * self.window, axis=1))

    def blocks(self, samples: int) -> Iterator[tuple[int, int]]:
        """First and last frame of every block."""
        total = self.count(samples)
        return ((first, min(first + BLOCK, total)) for first in range(0, total, BLOCK))

    def add(self, wave: np.ndarray, weight: np.ndarray, spectra: np.ndarray, first: int) -> None:
        """Add the waves of frames from `first` on to `wave` (time + 2 hops,), and their window to `weight`."""
        rows = np.fft.irfft(spectra, n=self.size, axis=1) * self.window
        for i, row in enumerate(rows):
            start = (first + i) * self.hop
            wave[start : start + self.size] += row
            weight[start : start + self.size] += self.window**2


def _mirrored(wave: np.ndarray, start: int, end: int) -> np.ndarray:
    """The samples from start up to end of a wave that is mirrored at its ends; zeros further out."""
    at = np.arange(start, end)
    last = len(wave) - 1
    inside = np.where(at < 0, -at, np.where(at > last, 2 * last - at, at))
    known = (inside >= 0) & (inside <= last)
    return np.where(known, wave[np.clip(inside, 0, last)], 0.0)
