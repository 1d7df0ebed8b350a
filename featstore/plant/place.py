"""Where a recording of the simulated plant is made: resonances, room and background that its recordings share."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from featstore.plant.days import drift_of
from featstore.plant.grid import Grid, rng_of


@dataclass(frozen=True)
class Place:
    """Where and on which day a recording is made: determines room, resonances and background in the whole plant.

    day: from 1; 0 in a plant without days.
    """

    seed: int
    machine: str
    domain: str
    background: str
    day: int = 0


MODES = {  # lowest and highest resonance in Hz, how many, decay time in seconds
    "body": (350.0, 2200.0, 6, 0.010),
    "bearing": (2200.0, 5200.0, 4, 0.0025),
    "rail": (1200.0, 4500.0, 5, 0.005),
}


@lru_cache(maxsize=16)
def resonances(seed: int, machine: str, modes: str, grid: Grid) -> np.ndarray:
    """Spectrum of the response to one impact, complex64 (n // 2 + 1,), the same in every recording of the machine."""
    return ringing(rng_of(seed, machine, "modes", modes), modes, grid)


def ringing(rng: np.random.Generator, modes: str, grid: Grid, *, stretch: float = 1.0) -> np.ndarray:
    """Spectrum of the response to one impact, (n // 2 + 1,), with resonances drawn by `rng`, times `stretch`."""
    low_hz, high_hz, count, decay_s = MODES[modes]
    time_s = np.arange(min(grid.n, int(8 * decay_s * grid.rate_hz))) / grid.rate_hz
    even_hz = np.geomspace(low_hz, high_hz, count) * np.exp(rng.normal(0, 0.08, count)) * stretch
    ring = np.zeros(len(time_s))
    for mode_hz in even_hz[even_hz < 0.95 * grid.nyquist_hz]:
        ring += np.sin(2 * np.pi * mode_hz * time_s) * np.exp(-time_s / (decay_s * rng.uniform(0.7, 1.3)))
    ring /= np.abs(ring).max(initial=1e-9)
    return np.asarray(fft.rfft(ring.astype(np.float32), grid.n))


@lru_cache(maxsize=16)
def room(place: Place, grid: Grid) -> np.ndarray:
    """Response from machine to microphone, complex64 (n // 2 + 1,): direct sound and a decaying diffuse tail.

    The two domains share most of the tail: the same room, another microphone. So do two days: other things stand there.
    """
    tail_s = np.arange(1, min(grid.n, int(0.3 * grid.rate_hz))) / grid.rate_hz
    rngs = [rng_of(place.seed, place.machine, "room", name) for name in ("", place.domain)]
    shared, own = (rng.normal(size=len(tail_s)) for rng in rngs)
    if place.day:
        shared = shared + 0.3 * rng_of(place.seed, place.machine, "room of day", place.day).normal(size=len(tail_s))
    tail = (shared + 0.3 * own) * np.exp(-tail_s / 0.05)
    impulse = np.concatenate([[1.0], 0.5 * tail / max(float(np.linalg.norm(tail)), 1e-9)])
    return np.asarray(fft.rfft(impulse.astype(np.float32), grid.n))


@lru_cache(maxsize=16)
def room_power(place: Place, grid: Grid) -> np.ndarray:
    """Squared magnitude of `room`, float32 (n // 2 + 1,)."""
    return np.asarray(np.abs(room(place, grid)) ** 2)


@lru_cache(maxsize=16)
def background_power(place: Place, grid: Grid) -> np.ndarray:
    """Power per band of one background, 70 % common to all backgrounds, 30 % its own; mean 1 before the drift."""
    own, shared = (hall_power(place.seed, name, grid) for name in (place.background, "all"))
    return np.asarray((0.3 * own + 0.7 * shared) * drift_gain(place, grid) ** 2)


def hall_power(seed: int, name: str, grid: Grid) -> np.ndarray:
    """Power per band of the noise of that name, mean 1."""
    return _random_background(rng_of(seed, "hall", name), grid.bands_hz)


def drift_gain(place: Place, grid: Grid) -> np.ndarray:
    """Gain per band of the background on the day, or 1."""
    drift = drift_of(place.seed, place.machine, place.day)
    return np.asarray(10 ** (drift.level_db / 20) * grid.rippled(np.array(drift.ripples_db)))


def _random_background(rng: np.random.Generator, hertz: np.ndarray) -> np.ndarray:
    """Power per band, mean 1: noise that falls with frequency, four broad humps and the tones of another machine."""
    power = (hertz / 200) ** -1.2 / (1 + (60 / hertz) ** 4)
    for centre_hz in np.exp(rng.uniform(np.log(150), np.log(5000), 4)):
        hump = np.exp(-0.5 * (np.log2(hertz / centre_hz) / 0.3) ** 2)
        power += rng.uniform(0.3, 1) * (centre_hz / 200) ** -0.7 * hump
    line_hz = rng.uniform(70, 160) * np.arange(1, 7)
    for order, centre_hz in enumerate(line_hz, start=1):
        power[np.argmin(np.abs(hertz - centre_hz))] += rng.uniform(0.5, 3) / order
    return np.asarray(power / power.mean())
