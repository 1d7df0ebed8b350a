"""Anomalies that alter the clip itself: its speed, spectrum, order in time or statistics.

Signatures as in added.py; waves have no DC offset. Where a change cannot reach the requested severity, the strongest
form is returned.
"""

from collections.abc import Callable

import numpy as np
from scipy import fft

from featstore.anomalies.added import excerpt, log_uniform
from featstore.anomalies.severity import (
    add,
    alter_segments,
    blend,
    parameter_for,
    ratio_of,
    rms_spectrum,
    variance,
    window_samples,
)
from featstore.anomalies.transforms import move_bands, pitch_by, speed_by

MAX_FACTOR = 1.7  # speed and pitch change by at most nine semitones
FLOOR = 0.03  # share of the amplitude that remains in a dropout or a removed band
GAIN_POINTS_HZ = 400


def modulation(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, frequency_hz: float | None = None
) -> np.ndarray:
    """The level varies 2 to 30 times per second, as a sine in dB: imbalance, eccentricity."""
    n, drawn_hz = len(wave), log_uniform(rng, 2, 30)
    frequency_hz = frequency_hz or drawn_hz
    points = max(2, int(n / rate_hz * GAIN_POINTS_HZ))
    starts = np.arange(points) * n // points
    swing = np.sin(2 * np.pi * (frequency_hz * starts / rate_hz + rng.uniform()))
    energy = np.add.reduceat(np.square(wave), starts).astype(np.float64)
    energy /= max(float(energy.sum()), np.finfo(np.float64).tiny)
    depth = parameter_for(lambda depth: float(energy @ np.expm1(depth * swing) ** 2), 1e-3, 4.0, severity_db)
    gain = np.interp(np.arange(n), starts, np.exp(depth * swing)).astype(np.float32)
    return np.asarray(wave * gain)


def speed(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, up: float | None = None
) -> np.ndarray:
    """The clip runs faster or slower, pitch and rhythm together: load, supply, a slipping belt."""
    factor = _factor(wave, rate_hz, severity_db, rng, lambda hz, factor: hz / factor, up=up)
    return speed_by(wave, rate_hz, factor)


def pitch(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, up: float | None = None
) -> np.ndarray:
    """All frequencies are multiplied by one factor, the rhythm is unchanged: another resonance or tooth count."""
    factor = _factor(wave, rate_hz, severity_db, rng, lambda hz, factor: hz / factor, up=up)
    return pitch_by(wave, rate_hz, factor)


def warp(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, up: float | None = None
) -> np.ndarray:
    """Frequencies move by a factor that falls to 1 at the Nyquist frequency: a changed stiffness or cavity."""
    axis = np.linspace(0, rate_hz / 2, 1024)

    def moved(hz: np.ndarray, factor: float) -> np.ndarray:
        return np.asarray(hz * (1 + (factor - 1) * (1 - 2 * hz / rate_hz)))

    factor = _factor(
        wave, rate_hz, severity_db, rng, lambda hz, factor: np.interp(hz, moved(axis, factor), axis), up=up
    )
    return move_bands(wave, rate_hz, lambda hz: moved(hz, factor))


def blockage(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    """High frequencies are removed: something covers the source."""
    spectrum, energy, length = _whole_spectrum(wave)
    above = np.cumsum(energy[::-1])[::-1]
    cut = int(np.searchsorted(-above, -ratio_of(severity_db) * above[0], side="right")) - 1
    return _remove_band(wave, spectrum, (max(1, cut), len(energy)), length, severity_db)


def bandstop(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, centre_hz: float | None = None
) -> np.ndarray:
    """A band around a random frequency is removed: a blocked opening, a part that no longer sounds."""
    spectrum, energy, length = _whole_spectrum(wave)
    total = np.concatenate([[0.0], np.cumsum(energy)])
    drawn = log_uniform(rng, 0.05, 0.6) * len(energy)
    centre = drawn if centre_hz is None else centre_hz / (rate_hz / 2) * len(energy)

    def band(octaves: float) -> tuple[int, int]:
        low, high = int(centre * 2 ** (-octaves)), int(np.ceil(centre * 2**octaves))
        return max(1, low), min(max(high, low + 2), len(energy))

    def inside(octaves: float) -> float:
        low, high = band(octaves)
        return float((total[high] - total[low]) / max(total[-1], np.finfo(np.float64).tiny))

    widest = np.log2(len(energy))
    return _remove_band(wave, spectrum, band(parameter_for(inside, 1e-3, widest, severity_db)), length, severity_db)


def dropouts(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    """The sound stops for short times: sticking, a loose contact."""
    return alter_segments(wave, rate_hz, severity_db, rng, lambda segments: FLOOR * segments, seconds=(0.05, 0.3))


def stutter(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    """A short piece repeats instead of the sound that follows it: sticking and slipping."""
    parts = rng.integers(3, 7)

    def alter(segments: np.ndarray) -> np.ndarray:
        length = segments.shape[1]
        return segments[:, np.arange(length) % max(1, length // parts)]

    return alter_segments(wave, rate_hz, severity_db, rng, alter)


def reversed_segments(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    """Segments of the clip are played backwards: attack and decay are exchanged."""
    return alter_segments(wave, rate_hz, severity_db, rng, lambda segments: segments[:, ::-1])


def shuffled(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    """Segments of the clip are played in another order: a wrong sequence."""

    def alter(segments: np.ndarray) -> np.ndarray:
        order = rng.permutation(len(segments))
        altered = np.empty_like(segments)
        altered[order] = segments[np.roll(order, 1)]  # no segment stays in its place
        return altered

    return alter_segments(wave, rate_hz, severity_db, rng, alter)


def clipping(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator) -> np.ndarray:
    """Peaks are cut off: an overdriven part, a part that hits a stop."""
    size = np.abs(wave)
    power, peak = variance(wave), float(size.max())
    if power == 0:
        return wave.copy()

    def lost(closeness: float) -> float:
        return float(np.mean(np.square(np.maximum(size - peak * (1 - closeness), 0)), dtype=np.float64)) / power

    limit = peak * (1 - parameter_for(lost, 1e-6, 1 - 1e-3, severity_db))
    return np.asarray(np.clip(wave, -limit, limit))


def statistics_exchange(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, donor: np.ndarray
) -> np.ndarray:
    """Each frequency gets the mean and deviation over time that it has in `donor` (StatEx), up to the severity.

    The donor is scaled to the level of the clip, so that the loudness stays the same.
    """
    n = min(window_samples(len(wave), rate_hz), window_samples(len(donor), rate_hz))
    level = np.sqrt(variance(wave) / variance(donor)) if variance(donor) > 0 else 0.0
    S, size = _short_time(wave, n)
    donor_size = np.float32(level) * _short_time(donor, n)[1]
    least = np.float32(1e-6) * size.max() + np.finfo(np.float32).tiny
    z = (size - size.mean(axis=0)) / np.maximum(size.std(axis=0), least)
    target = np.maximum(donor_size.mean(axis=0) + donor_size.std(axis=0) * z, 0)
    return blend(wave, _overlap_add(S * (target / np.maximum(size, least)), len(wave), n), severity_db)


def recorded(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, donor: np.ndarray
) -> np.ndarray:
    """A recorded or generated anomaly, scaled to the level of the clip, replaces it up to the severity.

    From +3 dB on the clip is replaced completely.
    """
    other = excerpt(donor, len(wave), rng)
    level = np.sqrt(variance(wave) / variance(other)) if variance(other) > 0 else 0.0
    return blend(wave, np.float32(level) * (other - other.mean()), severity_db)


def _factor(
    wave: np.ndarray,
    rate_hz: int,
    severity_db: float,
    rng: np.random.Generator,
    source_hz: Callable[[np.ndarray, float], np.ndarray],
    *,
    up: float | None,
) -> float:
    """The factor nearest to 1, up or down (as `up` says, 1 or 0), that changes the RMS spectrum by the severity.

    source_hz: from frequencies of the changed clip and a factor to the frequencies before the change. The change is
    estimated from the spectrum alone.
    """
    factors = 1 + np.geomspace(5e-4, MAX_FACTOR - 1, 80)
    drawn = rng.uniform() < 0.5
    A = rms_spectrum(wave, rate_hz)
    hz = np.linspace(0, rate_hz / 2, len(A))
    power = float(np.sum(A**2))
    for factor in factors if (drawn if up is None else up >= 0.5) else 1 / factors:
        B = np.interp(source_hz(hz, float(factor)), hz, A, right=0.0)
        B *= np.sqrt(power / max(float(np.sum(B**2)), np.finfo(np.float64).tiny))
        if np.sum((B - A) ** 2) >= ratio_of(severity_db) * power:
            break
    return float(factor)


def _whole_spectrum(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Spectrum of the whole clip, energy per bin, and FFT length."""
    length = fft.next_fast_len(len(wave), real=True)
    spectrum = fft.rfft(wave, length)
    energy = np.square(np.abs(spectrum)).astype(np.float64)
    return spectrum, energy, length


def _remove_band(
    wave: np.ndarray, spectrum: np.ndarray, band: tuple[int, int], length: int, severity_db: float
) -> np.ndarray:
    """The clip with the bins of `band` reduced to FLOOR, or less where that would exceed the severity."""
    lost = np.zeros_like(spectrum)
    lost[slice(*band)] = -spectrum[slice(*band)]
    return add(wave, fft.irfft(lost, length)[: len(wave)], severity_db, max_factor=1 - FLOOR)


def _short_time(wave: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Short-time spectrum (frame, n // 2 + 1) under a root-Hann window at half overlap, and its magnitude."""
    padded = np.pad(wave, (n, n))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n)[:: n // 2]
    S = fft.rfft(frames * _root_hann(n), axis=1)
    return S, np.sqrt(S.real**2 + S.imag**2)


def _overlap_add(S: np.ndarray, length: int, n: int) -> np.ndarray:
    """Inverse of `_short_time`."""
    frames = fft.irfft(S, n, axis=1) * _root_hann(n)
    halves = frames.reshape(len(frames), 2, n // 2)
    body = np.zeros((len(frames) + 1, n // 2), dtype=np.float32)
    body[:-1] += halves[:, 0]
    body[1:] += halves[:, 1]
    return body.ravel()[n : n + length]


def _root_hann(n: int) -> np.ndarray:
    return np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)
