"""The near microphone minus what the far one explains: one linear filter per frequency and recording.

With C the near and F the far spectrum, a filter H per frequency minimises the sum over time of |C - H F|^2, and the
result is C - H F (DCASE 2026 submissions; `taps` = 1 is the published form). Noise that reaches both microphones by
paths that do not change is removed; sound of the machine that only the near one hears stays. What the far microphone
hears of the machine itself is lost too, so strong leakage hurts, and so does noise that differs at the two places.
"""

from dataclasses import dataclass

import numpy as np

from featstore.audio.near_far.frames import Frames
from featstore.errors import DataError

FLOOR = 1e-12
PEAK = 0.9
COPY = 1e-6
"""The far channel is a copy of the near one where less than this share of the near power would be left."""

KEPT = 8
"""Up to so many blocks, the spectra are kept for the second pass and not computed again (2 MB a block)."""

FAR_SILENT, FAR_COPY = "far channel silent", "far channel a copy"
"""Outcomes of recordings in which nothing is subtracted."""


@dataclass(frozen=True)
class Subtraction:
    """How the filter is made.

    window: samples of a frame. taps: frames of the far channel that explain one frame of the near one, the present one
    and those before it. forget: 0 for one filter of the whole recording; else the weight of the past from frame to
    frame in a recursive estimate, below 1, for paths that change.
    """

    window: int = 1024
    taps: int = 1
    forget: float = 0.0

    def __post_init__(self) -> None:
        """Raise DataError for values that make no filter."""
        if not 64 <= self.window <= 1 << 16 or self.window % 2:
            raise DataError(f"window={self.window}: expected an even number of samples from 64 to 65536")
        if not 1 <= self.taps <= 32:
            raise DataError(f"taps={self.taps}: expected 1 to 32 frames")
        if self.forget and not 0.5 <= self.forget < 1:
            raise DataError(f"forget={self.forget:g}: expected 0, or from 0.5 up to but not including 1")


def near_minus_far(near: np.ndarray, far: np.ndarray, how: Subtraction) -> tuple[np.ndarray, str]:
    """What is left of `near` (time,) when the part that `far` (time,) explains is subtracted; float32, and an outcome.

    Where nothing can be subtracted, `near` itself is returned, and the outcome (see `outcomes`) is not empty.
    """
    peak = max(float(np.abs(near).max(initial=0)), float(np.abs(far).max(initial=0)))
    if not np.abs(far).max(initial=0) > 0:
        return np.asarray(near, dtype=np.float32), FAR_SILENT
    scale = PEAK / peak
    pair = _single(near, scale), _single(far, scale)
    left = _recursive(*pair, how) if how.forget else _fixed(*pair, how)
    if float(np.square(left).sum(dtype=float)) <= COPY * float(np.square(pair[0]).sum(dtype=float)) and pair[0].any():
        return np.asarray(near, dtype=np.float32), FAR_COPY
    return np.asarray(left / scale, dtype=np.float32), ""


def _single(wave: np.ndarray, scale: float) -> np.ndarray:
    """The scaled wave in single precision; scaled in double precision, for waves that are almost silent."""
    return np.asarray(wave.astype(np.float64) * scale, dtype=np.float32)


def _fixed(near: np.ndarray, far: np.ndarray, how: Subtraction) -> np.ndarray:
    """One filter (bins, taps) of the whole recording, from sums over its blocks."""
    frames = Frames(how.window)
    bins = how.window // 2 + 1
    own, cross = np.zeros((bins, how.taps, how.taps), complex), np.zeros((bins, how.taps), complex)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    blocks = list(frames.blocks(len(near)))
    for first, last in blocks:
        C, F = frames.spectra(near, first, last), _delayed(frames, far, first, last, how.taps)
        own_part, cross_part = _sums(C, F)
        own += own_part
        cross += cross_part
        if len(blocks) <= KEPT:
            kept.append((C, F))
    H = _solved(own, cross).astype(np.complex64)
    hops = frames.empty(len(near), np.float32)
    for i, (first, last) in enumerate(blocks):
        C, F = kept[i] if kept else (frames.spectra(near, first, last), _delayed(frames, far, first, last, how.taps))
        for tap in range(how.taps):
            C -= F[tap] * H[:, tap]
        frames.add(hops, C, first)
    return frames.wave(hops, len(near))


def _recursive(near: np.ndarray, far: np.ndarray, how: Subtraction) -> np.ndarray:
    """A filter for every frame, from the frames up to it, of which older ones count less."""
    frames = Frames(how.window)
    bins = how.window // 2 + 1
    own, cross = np.zeros((bins, how.taps, how.taps), complex), np.zeros((bins, how.taps), complex)
    hops = frames.empty(len(near), np.float32)
    for first, last in frames.blocks(len(near)):
        C, F = frames.spectra(near, first, last), _delayed(frames, far, first, last, how.taps)
        for t in range(last - first):
            now = F[:, t].T.astype(complex)
            own *= how.forget
            own += now.conj()[:, :, None] * now[:, None, :]
            cross *= how.forget
            cross += now.conj() * C[t][:, None]
            C[t] -= (now * _solved(own, cross)).sum(axis=1)
        frames.add(hops, C, first)
    return frames.wave(hops, len(near))


def _sums(C: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the frames of near (frames, bins) and far (taps, frames, bins) spectra: of far with far, and with near.

    (bins, taps, taps) and (bins, taps). Single precision would not do for taps that resemble each other.
    """
    if len(F) == 1:
        power = np.einsum("tb,tb->b", F[0].real, F[0].real) + np.einsum("tb,tb->b", F[0].imag, F[0].imag)
        return power[:, None, None], np.einsum("tb,tb->b", F[0].conj(), C)[:, None]
    rows = np.ascontiguousarray(F.transpose(2, 0, 1), dtype=np.complex128)  # (bins, taps, frames)
    columns = np.concatenate([rows, C.T[:, None].astype(np.complex128)], axis=1).transpose(0, 2, 1)
    both = rows.conj() @ columns
    return both[:, :, :-1], both[:, :, -1]


def _solved(own: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """The filters (bins, taps); the published floor keeps a bin without far sound at 0."""
    if cross.shape[1] == 1:
        return np.asarray(cross / (own[:, :, 0] + FLOOR))
    loaded = FLOOR + 1e-6 * np.trace(own, axis1=1, axis2=2).real / own.shape[1]
    return np.asarray(np.linalg.solve(own + loaded[:, None, None] * np.eye(own.shape[1]), cross[:, :, None])[:, :, 0])


def _delayed(frames: Frames, far: np.ndarray, first: int, last: int, taps: int) -> np.ndarray:
    """Spectra (taps, frames, bins) of the far channel: the present frame, the one before it, and so on."""
    spectra = frames.spectra(far, first - taps + 1, last)
    if first - taps + 1 < 0:
        spectra[: taps - 1 - first] = 0  # before the beginning there is no frame
    rows = np.lib.stride_tricks.sliding_window_view(spectra, last - first, axis=0)[::-1]
    return rows.transpose(0, 2, 1)  # views of one array, not copies
