"""Anomalies that add a sound to a clip: impacts, squeal, leaks, rattle, another machine.

Every function takes a wave float32 (time,) without DC offset, its sample rate, the requested severity (see severity.py)
and a generator, and returns a wave of the same length. Random numbers are drawn in the same order at every severity.
What is given by a keyword replaces what is drawn.
"""

import numpy as np
from scipy import fft

from featstore.anomalies.severity import add

CONTROL_POINTS_HZ = 100  # rate of the control points of a tone's pitch and of a burst's envelope
KERNEL_DECAYS = 7  # length of an impact in decay times, when it has decayed by 60 dB


def impacts(
    wave: np.ndarray,
    rate_hz: int,
    severity_db: float,
    rng: np.random.Generator,
    *,
    per_second: float | None = None,
    resonance_hz: float | None = None,
) -> np.ndarray:
    """Periodic impacts that excite a resonance: a damaged bearing, gear tooth or rail."""
    drawn = rng.uniform(4, 40), log_uniform(rng, 0.1, 0.9) * rate_hz / 2
    resonance = (resonance_hz or drawn[1], rng.uniform(0.001, 0.01))
    return add(wave, impact_train(len(wave), rate_hz, per_second or drawn[0], resonance, rng), severity_db)


def squeal(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, pitch_hz: float | None = None
) -> np.ndarray:
    """A tone of 0.5 to 7 kHz with up to four harmonics and a drifting pitch: dry friction, whistling."""
    drawn_hz = min(log_uniform(rng, 500, 7000), 0.4 * rate_hz)
    pitch_hz = pitch_hz or drawn_hz
    return add(
        wave,
        drifting_tone(len(wave), rate_hz, pitch_hz, (rng.uniform(0.005, 0.03), int(rng.integers(1, 6))), rng),
        severity_db,
    )


def leak(
    wave: np.ndarray,
    rate_hz: int,
    severity_db: float,
    rng: np.random.Generator,
    *,
    centre_hz: float | None = None,
    octaves: float | None = None,
) -> np.ndarray:
    """Steady noise in a band of a third to one and a half octaves: escaping gas or air."""
    return add(wave, band_noise(len(wave), rate_hz, _band(rng, rate_hz, centre_hz, octaves), rng), severity_db)


def bursts(
    wave: np.ndarray,
    rate_hz: int,
    severity_db: float,
    rng: np.random.Generator,
    *,
    centre_hz: float | None = None,
    octaves: float | None = None,
) -> np.ndarray:
    """The noise of `leak` in bursts of 30 to 300 ms: clogging, a valve that does not close."""
    noise = band_noise(len(wave), rate_hz, _band(rng, rate_hz, centre_hz, octaves), rng)
    return add(wave, noise * _gate(len(wave), rate_hz, rng), severity_db)


def distortion(
    wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, *, drive: float | None = None
) -> np.ndarray:
    """Distortion products of a non-linear characteristic, without the clip itself: a loose part that rattles along."""
    power = np.dot(wave, wave)
    if power == 0:
        return wave.copy()
    drawn, bias = np.float32(rng.uniform(1.5, 5)), np.float32(rng.uniform(-1, 1))
    distorted = np.tanh(np.float32(drive or drawn) * wave / np.sqrt(power / len(wave)) + bias)
    return add(wave, distorted - np.dot(distorted, wave) / power * wave, severity_db)


def mix(wave: np.ndarray, rate_hz: int, severity_db: float, rng: np.random.Generator, donor: np.ndarray) -> np.ndarray:
    """The sound of another machine is added."""
    return add(wave, excerpt(donor, len(wave), rng), severity_db)


def impact_train(
    n: int, rate_hz: int, per_second: float, resonance: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Decaying sines at nearly equal intervals, float32 (n,); resonance: frequency in Hz and decay time in s."""
    resonance_hz, decay_s = resonance
    t = np.arange(max(2, round(KERNEL_DECAYS * decay_s * rate_hz))) / rate_hz
    kernel = (np.exp(-t / decay_s) * np.sin(2 * np.pi * resonance_hz * t)).astype(np.float32)
    period = rate_hz / per_second
    count = int(n / period) + 2
    starts = (np.arange(count) - rng.uniform()) * period + rng.normal(0, 0.01 * period, count)
    out = np.zeros(n + len(kernel), dtype=np.float32)
    for start, height in zip(starts.round().astype(int).tolist(), rng.uniform(0.7, 1.3, count).tolist(), strict=True):
        if 0 <= start < n:
            out[start : start + len(kernel)] += np.float32(height) * kernel
    return out[:n]


def drifting_tone(
    n: int, rate_hz: int, pitch_hz: float, form: tuple[float, int], rng: np.random.Generator
) -> np.ndarray:
    """A tone and its harmonics below the Nyquist frequency, float32 (n,); form: relative pitch drift, partials."""
    drift, partials = form
    t = np.arange(0, n + rate_hz / CONTROL_POINTS_HZ, rate_hz / CONTROL_POINTS_HZ) / rate_hz
    deviation = np.sin(2 * np.pi * (rng.uniform(0.2, 1.0) * t + rng.uniform()))
    cycles = np.cumsum(pitch_hz * (1 + drift * deviation)) / CONTROL_POINTS_HZ
    angle = np.interp(np.arange(n) / rate_hz, t, cycles)
    phase = ((angle - np.floor(angle)) * (2 * np.pi)).astype(np.float32)  # a float32 is exact enough once it is small
    out = np.zeros(n, dtype=np.float32)
    for k in range(1, partials + 1):
        if k * pitch_hz * (1 + drift) < rate_hz / 2:
            out += np.sin(np.float32(k) * phase) / np.float32(k)
    return out


def band_noise(n: int, rate_hz: int, band_hz: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with a flat spectrum in a band, float32 (n,)."""
    length = fft.next_fast_len(n, real=True)
    low, high = (round(edge_hz * length / rate_hz) for edge_hz in band_hz)
    low, high = max(1, low), min(length // 2, max(high, low + 2))
    spectrum = np.zeros(length // 2 + 1, dtype=np.complex64)
    spectrum[low:high] = rng.standard_normal((high - low, 2), dtype=np.float32).view(np.complex64)[:, 0]
    return np.asarray(fft.irfft(spectrum, length)[:n])


def excerpt(wave: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` samples from a random position of `wave`, which is repeated where it is shorter."""
    if len(wave) < n:
        return np.resize(wave, n)
    start = rng.integers(len(wave) - n + 1)
    return wave[start : start + n]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A random number, uniform on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _band(
    rng: np.random.Generator, rate_hz: int, centre_hz: float | None, octaves: float | None
) -> tuple[float, float]:
    """A band, by default of a third to one and a half octaves with its centre at 8 to 80 % of the Nyquist frequency."""
    drawn = log_uniform(rng, 0.08, 0.8) * rate_hz / 2, rng.uniform(1 / 3, 1.5)
    centre_hz, octaves = centre_hz or drawn[0], octaves or drawn[1]
    return centre_hz * 2 ** (-octaves / 2), min(centre_hz * 2 ** (octaves / 2), 0.98 * rate_hz / 2)


def _gate(n: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Envelope of one or more bursts at random times, float32 (n,)."""
    points = max(4, int(n / rate_hz * CONTROL_POINTS_HZ) + 1)
    gate = np.zeros(points)
    for start in rng.integers(points, size=max(1, round(rng.uniform(0.5, 3) * n / rate_hz))).tolist():
        gate[start : start + rng.integers(3, 31)] = 1
    return np.asarray(np.interp(np.arange(n), np.linspace(0, n, points), gate).astype(np.float32))
