"""Short-time spectra of a long wave, block by block, and the wave of changed spectra."""

from collections.abc import Iterator

import numpy as np

BLOCK = 256
"""Frames of a block: memory is bounded by this and not by the length of a recording."""


class Frames:
    """Centred frames with a periodic Hann window and half overlap: exact overlap-add for any length.

    size: samples of a frame, even. At both ends the wave is mirrored (padded with zeros where it is too short).
    Computed in the precision of the wave, single or double.
    """

    def __init__(self, size: int) -> None:
        self.size, self.hop = size, size // 2
        self.window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        # With half overlap every sample lies in two frames, whose squared windows add up to the same period everywhere.
        self._synthesis = self.window / (self.window**2 + np.roll(self.window, self.hop) ** 2)

    def count(self, samples: int) -> int:
        """Number of frames of a wave."""
        return 1 + -(-samples // self.hop)

    def spectra(self, wave: np.ndarray, first: int, last: int) -> np.ndarray:
        """Complex spectra (frames, bins) of the frames from `first` up to `last` of a wave (time,)."""
        from scipy import fft

        start, end = first * self.hop - self.hop, (last - 1) * self.hop + self.hop
        part = _mirrored(wave, start, end)
        rows = np.lib.stride_tricks.sliding_window_view(part, self.size)[:: self.hop]
        return np.asarray(fft.rfft(rows * self.window.astype(part.dtype), axis=1, overwrite_x=True))

    def blocks(self, samples: int) -> Iterator[tuple[int, int]]:
        """First and last frame of every block."""
        total = self.count(samples)
        return ((first, min(first + BLOCK, total)) for first in range(0, total, BLOCK))

    def empty(self, samples: int, dtype: np.dtype | type = np.float64) -> np.ndarray:
        """A wave of zeros (hops, hop) to which `add` adds."""
        return np.zeros((self.count(samples) + 1, self.hop), dtype)

    def add(self, hops: np.ndarray, spectra: np.ndarray, first: int) -> None:
        """Add the waves of frames from `first` on to `hops` (of `empty`)."""
        from scipy import fft

        rows = fft.irfft(spectra, n=self.size, axis=1, overwrite_x=True)
        rows *= self._synthesis.astype(rows.dtype)
        hops[first : first + len(rows)] += rows[:, : self.hop]
        hops[first + 1 : first + 1 + len(rows)] += rows[:, self.hop :]

    def wave(self, hops: np.ndarray, samples: int) -> np.ndarray:
        """The wave (samples,) when all frames are added."""
        return np.asarray(hops.reshape(-1)[self.hop : self.hop + samples])


def _mirrored(wave: np.ndarray, start: int, end: int) -> np.ndarray:
    """The samples from start up to end of a wave that is mirrored at its ends; zeros further out."""
    if start >= 0 and end <= len(wave):
        return wave[start:end]
    inside = wave[max(start, 0) : max(end, 0)]
    before, after = np.arange(start, min(0, end)), np.arange(max(start, len(wave)), end)
    return np.concatenate([_taken(wave, -before), inside, _taken(wave, 2 * (len(wave) - 1) - after)])


def _taken(wave: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The samples at these places, zero where there are none."""
    known = (at >= 0) & (at < len(wave))
    return np.asarray(np.where(known, wave[np.clip(at, 0, len(wave) - 1)], 0), dtype=wave.dtype)
