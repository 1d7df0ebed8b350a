"""Transforms of a wave by a given amount: speed, pitch, tempo, noise, removed bands and times.

Every function takes and returns float32 (time,) of the same length. `altered.py` chooses amounts by severity; the
training of classifiers draws them from fixed ranges.
"""

from collections.abc import Callable

import numpy as np
import soxr
from scipy import fft

from featstore.anomalies.severity import variance

BAND_HZ = 100  # the spectrum moves in bands; envelopes keep a resolution of 1 / BAND_HZ
FADE_S = 0.02  # cross-fade where a wave is continued with its own beginning


def speed_by(wave: np.ndarray, rate_hz: int, factor: float) -> np.ndarray:
    """Play the wave `factor` times as fast, pitch and rhythm together."""
    moved = soxr.resample(wave, rate_hz * factor, rate_hz, quality="HQ")
    return looped(moved, len(wave), rate_hz)


def pitch_by(wave: np.ndarray, rate_hz: int, factor: float) -> np.ndarray:
    """Multiply all frequencies by `factor`; the rhythm is unchanged."""
    return move_bands(wave, rate_hz, lambda hz: hz * factor)


def tempo_by(wave: np.ndarray, rate_hz: int, factor: float) -> np.ndarray:
    """Make the rhythm `factor` times as fast; frequencies are unchanged (to the resolution BAND_HZ).

    The step that lowers frequencies comes first, so that none exceeds the Nyquist frequency and is lost.
    """
    if factor > 1:
        return speed_by(pitch_by(wave, rate_hz, 1 / factor), rate_hz, factor)
    return pitch_by(speed_by(wave, rate_hz, factor), rate_hz, 1 / factor)


def gain_by(wave: np.ndarray, level_db: float) -> np.ndarray:
    """Amplify by `level_db`."""
    return np.asarray(np.float32(10 ** (level_db / 20)) * wave)


def add_noise(wave: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise, `snr_db` below the wave; silence stays silence."""
    deviation = np.float32(np.sqrt(variance(wave) * 10 ** (-snr_db / 10)))
    return np.asarray(wave + deviation * rng.standard_normal(len(wave), dtype=np.float32))


def remove_band(wave: np.ndarray, low: float, high: float) -> np.ndarray:
    """Remove the frequencies from share `low` to share `high` of the Nyquist frequency."""
    length = fft.next_fast_len(len(wave), real=True)
    spectrum = fft.rfft(wave, length)
    spectrum[int(low * len(spectrum)) : int(high * len(spectrum))] = 0
    return np.asarray(fft.irfft(spectrum, length)[: len(wave)])


def remove_time(wave: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Set the samples from share `start` to share `stop` of the wave to 0."""
    out = wave.copy()
    out[int(start * len(wave)) : int(stop * len(wave))] = 0
    return out


def looped(wave: np.ndarray, n: int, rate_hz: int) -> np.ndarray:
    """`wave` cut to `n` samples, or continued with its own beginning under a short cross-fade."""
    if len(wave) >= n:
        return np.asarray(wave[:n], dtype=np.float32)
    fade = max(1, min(round(FADE_S * rate_hz), len(wave) // 4))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    unit = wave[fade:].copy()  # the end is cross-faded into wave[:fade], so the next repetition starts after it
    unit[-fade:] = unit[-fade:] * (1 - ramp) + wave[:fade] * ramp
    return np.concatenate([wave[:fade], np.resize(unit, n - fade)]).astype(np.float32)


def move_bands(wave: np.ndarray, rate_hz: int, target_hz: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Move each band of the spectrum as a whole: its centre goes to `target_hz(centre)`. The level is unchanged."""
    length = fft.next_fast_len(len(wave), real=True)
    spectrum = fft.rfft(wave, length)
    bins = len(spectrum)
    edges = np.unique(np.append(np.arange(0, rate_hz / 2, BAND_HZ) * length / rate_hz, bins).round().astype(int))
    centres_hz = (edges[:-1] + edges[1:]) / 2 * rate_hz / length
    shifts = ((target_hz(centres_hz) - centres_hz) * length / rate_hz).round().astype(int)
    moved = np.zeros_like(spectrum)
    for low, high, shift in zip(edges[:-1].tolist(), edges[1:].tolist(), shifts.tolist(), strict=True):
        start, stop = max(low + shift, 0), min(high + shift, bins)
        if start < stop:
            moved[start:stop] += spectrum[start - shift : stop - shift]
    out = fft.irfft(moved, length)[: len(wave)]
    power = variance(out)
    level = np.sqrt(variance(wave) / power) if power > 0 else 0.0
    return np.asarray(np.float32(level) * out)
