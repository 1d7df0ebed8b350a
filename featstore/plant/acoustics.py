"""Acoustics of the simulated plant: sources, resonances, room, microphone and factory background of one recording.

Linear operations are done once per recording in the frequency domain: one real FFT for tones, one per set of
resonances, one per modulated noise, and a single inverse FFT for the mixture. The FFT is as long as the recording, so
echoes wrap from the end to the beginning, as if the machine had been running before.
Levels are relative: the loudest part of a healthy machine has an RMS near 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from featstore.plant.days import RIPPLES
from featstore.plant.grid import CONTROL_HZ, N_BANDS, TABLE_SIZE, Grid, look_up
from featstore.plant.place import Place, background_power, resonances, room, room_power

LEVEL = 0.015  # full-scale fraction of a source with RMS 1


@dataclass(frozen=True)
class Site:
    """Disturbances at a machine's place.

    snr_db: level of the machine above the factory background. clanks_per_s: rate of unrelated impacts nearby.
    variation_db: how much levels and spectra change from one recording to the next.
    """

    snr_db: float
    clanks_per_s: float
    variation_db: float


class Scene:
    """One recording: a machine model adds its sources, then `record` returns the microphone signal."""

    def __init__(self, rng: np.random.Generator, grid: Grid, place: Place) -> None:
        self.rng = rng
        self.grid = grid
        self.place = place
        self.tones = np.zeros(grid.n, dtype=np.float32)
        self.spectrum = np.zeros(grid.n // 2 + 1, dtype=np.complex64)
        self.power = np.zeros(N_BANDS)
        self.impacts: dict[str, np.ndarray] = {}

    def vary(self, spread_db: float, size: int | None = None) -> np.ndarray:
        """Log-normal factors with a standard deviation of `spread_db`."""
        return np.asarray(10 ** (self.rng.normal(0, spread_db, size) / 20))

    def rotation(self, revolutions_hz: float, wander: float = 0.002) -> np.ndarray:
        """Angle in revolutions of a shaft whose speed wanders by the fraction `wander`, float64 (n,)."""
        steps = self.rng.normal(size=len(self.grid.control_s))
        smooth = np.convolve(steps, np.hanning(42)[1:-1], mode="same") / 3.9
        return self.angle(revolutions_hz * (1 + wander * smooth))

    def angle(self, speed_hz: np.ndarray) -> np.ndarray:
        """Angle in revolutions for a speed given at the control points, float64 (n,)."""
        return self.rng.uniform() + np.cumsum(self.grid.upsample(speed_hz)) / self.grid.rate_hz

    def periodic(self, angle: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """Vibration that repeats every revolution, float32 (n,): amplitude `orders[k]` at order k, random phases."""
        fastest_hz = float(np.max(np.diff(angle[:: self.grid.rate_hz // CONTROL_HZ]), initial=1e-9)) * CONTROL_HZ
        below_nyquist = orders[: min(len(orders), int(0.98 * self.grid.nyquist_hz / fastest_hz), TABLE_SIZE // 8)]
        phases = np.exp(2j * np.pi * self.rng.uniform(size=len(below_nyquist)))
        table = fft.irfft(below_nyquist * phases, TABLE_SIZE) * (TABLE_SIZE / 2)
        return look_up(table.astype(np.float32), angle)

    def add_noise(self, centre_hz: float, octaves: float, level: float | np.ndarray) -> None:
        """Add stationary noise of RMS `level` around `centre_hz`."""
        shape = self._shape(centre_hz, octaves)
        self.power += level**2 * shape / shape.mean()

    def add_modulated_noise(self, envelope: np.ndarray, centre_hz: float, octaves: float) -> None:
        """Add noise around `centre_hz` whose RMS follows `envelope`, (n,)."""
        if not envelope.any():
            return
        shape = self._shape(centre_hz, octaves)
        noise = self.rng.standard_normal(self.grid.n, dtype=np.float32) * envelope.astype(np.float32)
        self.spectrum += fft.rfft(noise) * self.grid.spread(np.sqrt(shape / shape.mean()))

    def add_impacts(self, modes: str, times_s: np.ndarray, amplitudes: np.ndarray | float) -> None:
        """Add impacts that excite the resonances `modes` (a key of MODES); amplitude 1 gives a peak near 1."""
        sample = times_s * self.grid.rate_hz
        inside = (sample >= 0) & (sample < self.grid.n - 1)
        amplitudes = np.broadcast_to(amplitudes, sample.shape)[inside]
        if not amplitudes.any():
            return
        first = sample[inside].astype(np.int64)
        fraction = sample[inside] - first  # of a sample between two
        train = self.impacts.setdefault(modes, np.zeros(self.grid.n, dtype=np.float32))
        np.add.at(train, first, (amplitudes * (1 - fraction)).astype(np.float32))
        np.add.at(train, first + 1, (amplitudes * fraction).astype(np.float32))

    def sources(self) -> np.ndarray:
        """Spectrum of all sources of the machine, before the room; without its stationary noise (`power`)."""
        spectrum = self.spectrum + fft.rfft(self.tones)
        for modes, train in self.impacts.items():
            spectrum += fft.rfft(train) * resonances(self.place.seed, self.place.machine, modes, self.grid)
        return np.asarray(spectrum)

    def noise(self, power: np.ndarray) -> np.ndarray:
        """Spectrum of new stationary noise with this power per band."""
        noise = self.rng.standard_normal((self.grid.n // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0]
        noise *= np.sqrt(self.grid.spread(power) * (self.grid.n / 2))
        return np.asarray(noise)

    def record(self, site: Site) -> np.ndarray:
        """Microphone signal, float32 (n,): all sources filtered by the room, and the factory background."""
        grid, place = self.grid, self.place
        self.add_clanks(self.tones, site.clanks_per_s)
        response = room(place, grid)
        spectrum = self.sources()
        noise = self.rng.standard_normal((grid.n // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0]
        machine_power = grid.spread(self.power) * room_power(place, grid)
        background = self.varied(background_power(place, grid), site.variation_db) * 10 ** (-site.snr_db / 10)
        per_bin = np.sqrt((machine_power + grid.spread(background)) * (grid.n / 2))
        gain = LEVEL * self.vary(1.5 * site.variation_db) * self.colour(0.6 * site.variation_db)
        spectrum *= response
        noise *= per_bin
        mixed = (spectrum + noise) * grid.spread(gain)
        mixed[: int(10 * grid.seconds)] = 0  # the microphone records nothing below 10 Hz
        return np.asarray(fft.irfft(mixed, grid.n, overwrite_x=True))

    def _shape(self, centre_hz: float, octaves: float) -> np.ndarray:
        return np.exp(-0.5 * (np.log2(self.grid.bands_hz / centre_hz) / octaves) ** 2)

    def colour(self, spread_db: float) -> np.ndarray:
        """Smooth random gain per band: temperature, and small changes of the microphone's position."""
        return self.grid.rippled(self.rng.normal(0, spread_db, RIPPLES))

    def varied(self, power: np.ndarray, variation_db: float) -> np.ndarray:
        """Power per band of a background, varied from recording to recording."""
        return np.asarray(power * self.colour(variation_db) ** 2 * self.vary(1.5 * variation_db) ** 2)

    def add_clanks(self, wave: np.ndarray, per_second: float) -> None:
        """Add to a wave (n,) impacts that have nothing to do with the machine, each with other resonances."""
        count = self.rng.poisson(per_second * self.grid.seconds)
        time_s = (np.arange(min(self.grid.n, self.grid.rate_hz // 8)) / self.grid.rate_hz).astype(np.float32)
        hertz = np.exp(self.rng.uniform(np.log(200), np.log(0.4 * self.grid.rate_hz), (count, 4, 1))).astype(np.float32)
        decay_s = self.rng.uniform(0.008, 0.025, (count, 4, 1)).astype(np.float32)
        rings = (np.sin(2 * np.pi * hertz * time_s) * np.exp(-time_s / decay_s)).sum(axis=1)
        starts = self.rng.integers(0, self.grid.n - len(time_s) + 1, count)
        for start, ring, loudness in zip(starts, rings, self.vary(6, count), strict=True):
            wave[start : start + len(ring)] += np.float32(loudness) * ring
