"""One recording of an individual: the models of its type, with the quantities in which it deviates."""

from functools import lru_cache

import numpy as np
from scipy import fft

from featstore.plant.acoustics import LEVEL, Scene
from featstore.plant.grid import Grid, rng_of
from featstore.plant.individuals.build import Build
from featstore.plant.individuals.hall import hall_noise
from featstore.plant.place import Place, ringing, room

HOUSING_HZ, HOUSING_MODES, HOUSING_DB = (150.0, 5000.0), 8, 10.0
"""Resonances of the housing, which colour all sound of the machine: range, number and height."""

BANDWIDTH = 0.12
"""Bandwidth of a resonance in octaves."""

HUM_HZ, HUM_LEVEL = 100.0, 0.2
"""First line of the motor's hum and its amplitude."""

HUM_LINES = np.array([0, 1, 0.5, 0.4, 0, 0, 0.2])
"""Amplitudes of the lines of the hum, relative to the first."""

GAIN_DB, MICROPHONE_DB = 1.5, 0.7
"""Standard deviations from recording to recording: of the gain, and of each ripple of the microphone's response."""


class IndividualScene(Scene):
    """A recording of one individual.

    build: its quantities, after the fault if there is one. The domain of `place` names the individual: its microphone
    stands elsewhere in the room of the type.
    """

    def __init__(self, rng: np.random.Generator, grid: Grid, place: Place, build: Build) -> None:
        super().__init__(rng, grid, place)
        self.build = build

    def periodic(self, angle: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """As in `Scene`, with the orders of this individual."""
        return super().periodic(angle, orders * order_gains(self.build, len(orders)))

    def sources(self) -> np.ndarray:
        """As in `Scene`, with the resonances of this individual."""
        spectrum = self.spectrum + fft.rfft(self.tones)
        for modes, train in self.impacts.items():
            name = "mounting" if modes == "body" else "housing"
            rng = rng_of(self.place.seed, self.place.machine, "modes", modes)
            spectrum += fft.rfft(train) * ringing(rng, modes, self.grid, stretch=2 ** self.build.of(name))
        return np.asarray(spectrum)

    def heard(self, snr_db: float, clanks_per_s: float) -> np.ndarray:
        """Microphone signal, float32 (n,), beside the noise of the hall."""
        grid = self.grid
        self.tones += self.hum()
        machine = (self.sources() + self.noise(self.power)) * room(self.place, grid)
        machine *= grid.spread(housing_gain(self.place, self.build, grid))
        mixed = machine + hall_noise(self, snr_db, clanks_per_s)
        mixed *= grid.spread(LEVEL * self.vary(GAIN_DB) * self.colour(MICROPHONE_DB))
        mixed[: int(10 * grid.seconds)] = 0  # the microphone records nothing below 10 Hz
        return np.asarray(fft.irfft(mixed.astype(np.complex64), grid.n, overwrite_x=True))

    def _shape(self, centre_hz: float, octaves: float) -> np.ndarray:
        return super()._shape(centre_hz * 2 ** self.build.of("flow"), octaves)

    def hum(self) -> np.ndarray:
        """Lines of the field of the motor, with the sidebands of its slip."""
        time_s = np.arange(self.grid.n) / self.grid.rate_hz
        lines = super().periodic(HUM_HZ * time_s, HUM_LEVEL * self.vary(4) * HUM_LINES)
        beat_hz = HUM_HZ * self.build.slip
        return lines * (1 + 0.3 * np.cos((2 * np.pi * (beat_hz * time_s + self.rng.uniform())).astype(np.float32)))


def order_gains(build: Build, count: int) -> np.ndarray:
    """Factor of every order of an individual, (count,)."""
    order = np.arange(count)
    gain_db = build.of("tilt") * np.maximum(0, np.log2(np.maximum(order, 1) / 8))
    return np.asarray(10 ** (gain_db / 20))


def housing_gain(place: Place, build: Build, grid: Grid) -> np.ndarray:
    """Gain per band of the housing, (N_BANDS,), mean 1 in power."""
    modes = housing_modes(place.seed, place.machine)
    lower = np.arange(len(modes)) < len(modes) // 2
    centres = modes + np.where(lower, build.of("mounting"), build.of("housing"))
    distance = (np.log2(grid.bands_hz)[:, None] - centres) / BANDWIDTH
    gain = 10 ** (HOUSING_DB / 20 * (1 / (1 + 4 * distance**2)).sum(axis=1))
    return np.asarray(gain / np.sqrt(np.mean(gain**2)))


@lru_cache(maxsize=64)
def housing_modes(seed: int, machine: str) -> np.ndarray:
    """Resonances of the housing of a type, (HOUSING_MODES,), in log2 of Hz, lowest first."""
    low, high = np.log2(HOUSING_HZ)
    jitter = rng_of(seed, machine, "housing").normal(0, 0.15, HOUSING_MODES)
    return np.asarray(np.linspace(low, high, HOUSING_MODES) + jitter)
