"""Severity of a change: its energy relative to the clip in dB, and ways to reach a requested severity.

0 dB is a change as strong as the clip itself. There are two measures. "wave": energy of `after - before` over energy of
`before`, both over the whole clip. "spectrum": the same ratio for the RMS magnitude spectrum (64 ms Hann windows), for
changes that move sounds in time, where a sample-by-sample difference is not informative. Energies are summed over the
clip before the ratio is taken, because the usual segmental SNR (a mean of dB per segment) is undefined where most
segments are unchanged. The energy of a clip is its variance: a DC offset does not count.
"""

from collections.abc import Callable

import numpy as np
from scipy import fft, ndimage, optimize

WINDOW_S = 0.064
PRECISION = 1e-6  # of a parameter, relative
RAMP_S = 0.004  # fade-in and fade-out of the change of a segment


def change_db(before: np.ndarray, after: np.ndarray, rate_hz: int, *, measure: str = "wave") -> float:
    """Severity of the change in dB; -inf where nothing changed, +inf where sound was added to silence."""
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}; choose from {', '.join(MEASURES)}")
    changed, whole = MEASURES[measure](before, after, rate_hz)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(changed / whole)) if whole > 0 else (np.inf if changed > 0 else -np.inf)


def _wave_change(before: np.ndarray, after: np.ndarray, rate_hz: int) -> tuple[float, float]:
    return float(np.mean(np.square(after - before), dtype=np.float64)), variance(before)


def _spectrum_change(before: np.ndarray, after: np.ndarray, rate_hz: int) -> tuple[float, float]:
    A, B = rms_spectrum(before, rate_hz), rms_spectrum(after, rate_hz)
    return float(np.sum((B - A) ** 2)), float(np.sum(A**2))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray, int], tuple[float, float]]] = {
    "wave": _wave_change,
    "spectrum": _spectrum_change,
}


def variance(wave: np.ndarray) -> float:
    """Mean power without the DC offset."""
    return float(np.var(wave, dtype=np.float64))


def window_samples(n: int, rate_hz: int) -> int:
    """Samples in the 64 ms window, an even number; fewer for clips shorter than four windows."""
    return max(8, min(round(WINDOW_S * rate_hz), n // 4) // 2 * 2)


def rms_spectrum(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """RMS over time of the magnitude spectrum, (window // 2 + 1,), of the wave without its DC offset."""
    n = window_samples(len(wave), rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(wave, n)[:: n // 2]
    S = fft.rfft((frames - wave.mean()) * np.hanning(n).astype(np.float32), axis=1)
    return np.asarray(np.sqrt(np.mean(S.real**2 + S.imag**2, axis=0, dtype=np.float64)))


def ratio_of(severity_db: float) -> float:
    """Energy ratio that a severity in dB means."""
    return float(10 ** (severity_db / 10))


def add(wave: np.ndarray, addition: np.ndarray, severity_db: float, *, max_factor: float = np.inf) -> np.ndarray:
    """`wave` plus `addition`, scaled to the severity by a factor of at most `max_factor`."""
    addition = addition - addition.mean()
    power = variance(addition)
    factor = np.sqrt(ratio_of(severity_db) * variance(wave) / power) if power > 0 else 0.0
    return np.asarray(wave + np.float32(min(factor, max_factor)) * addition)


def blend(wave: np.ndarray, other: np.ndarray, severity_db: float) -> np.ndarray:
    """`wave` moved towards `other` up to the severity, at most to `other` itself."""
    return add(wave, other - wave, severity_db, max_factor=1.0)


def parameter_for(change: Callable[[float], float], low: float, high: float, severity_db: float) -> float:
    """The parameter from `low` (no change) to `high` at which `change`, a rising energy ratio, reaches the severity.

    `high` where it does not. Brent's method on logarithmic scales, where most changes are nearly straight lines; both
    ends are positive.
    """
    tiny = np.finfo(np.float64).tiny

    def excess(log_parameter: float) -> float:
        return float(np.log(max(change(float(np.exp(log_parameter))), tiny)) - np.log(ratio_of(severity_db)))

    if change(high) <= ratio_of(severity_db):
        return high
    if change(low) >= ratio_of(severity_db):
        return low
    return float(np.exp(optimize.brentq(excess, np.log(low), np.log(high), xtol=PRECISION)))


def alter_segments(
    wave: np.ndarray,
    rate_hz: int,
    severity_db: float,
    rng: np.random.Generator,
    alter: Callable[[np.ndarray], np.ndarray],
    *,
    seconds: tuple[float, float] = (0.1, 0.4),
) -> np.ndarray:
    """Alter as many random segments of the clip as the severity needs, the last one partly.

    alter: from segments float32 (segment, time) to altered segments. The segment length is drawn from `seconds`.
    """
    length = max(2, min(round(rng.uniform(*seconds) * rate_hz), len(wave) // 4))
    segments = wave[: len(wave) // length * length].reshape(-1, length)
    difference = alter(segments) - segments
    energy = np.asarray(np.sum(difference**2, axis=1, dtype=np.float64))
    order = rng.permutation(len(segments))
    left = ratio_of(severity_db) * variance(wave) * len(wave) - (np.cumsum(energy[order]) - energy[order])
    share = np.zeros(len(segments))
    share[order] = np.clip(left, 0, energy[order]) / np.maximum(energy[order], np.finfo(np.float64).tiny)
    weight = np.repeat(np.sqrt(share), length).astype(np.float32)
    weight = ndimage.uniform_filter1d(weight, max(1, min(round(RAMP_S * rate_hz), length // 4)), mode="nearest")
    out = wave.copy()
    out[: len(weight)] += weight * difference.ravel()
    return out
