"""Acoustics of the simulated plant: sources, resonances, room, microphone and factory background of one recording.

Linear operations are done once per recording in the frequency domain: one real FFT for tones, one per set of
resonances, one per modulated noise, and a single inverse FFT for the mixture. The FFT is as long as the recording, so
echoes wrap from the end to the beginning, as if the machine had been running before.
Levels are relative: the loudest part of a healthy machine has an RMS near 1.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

N_BANDS = 800  # stationary noise is shaped in this many equal bands up to the Nyquist frequency
CONTROL_HZ = 200  # rate of the control points of envelopes and speeds
TABLE_SIZE = 8192  # samples of one revolution
LEVEL = 0.015  # full-scale fraction of a source with RMS 1


def rng_of(*key: object) -> np.random.Generator:
    """Random generator that depends on `key` alone, not on earlier calls."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16], "little")))


@dataclass(frozen=True)
class Grid:
    """Time and frequency axes: `n` samples (a fast FFT length) at `rate_hz`."""

    n: int
    rate_hz: int

    @property
    def nyquist_hz(self) -> float:
        """Half the sample rate."""
        return self.rate_hz / 2

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n / self.rate_hz

    @property
    def bands_hz(self) -> np.ndarray:
        """Centre of every noise band, (N_BANDS,)."""
        return (np.arange(N_BANDS) + 0.5) * self.nyquist_hz / N_BANDS

    @property
    def control_s(self) -> np.ndarray:
        """Times of the control points in seconds, one more than the samples need."""
        block = self.rate_hz // CONTROL_HZ
        return np.arange(self.n // block + 2) * (block / self.rate_hz)

    def spread(self, bands: np.ndarray) -> np.ndarray:
        """The value of its noise band for every FFT bin, (n // 2 + 1,)."""
        return np.asarray(bands.astype(np.float32)[_band_of_bin(self.n)])

    def upsample(self, control: np.ndarray) -> np.ndarray:
        """Linear interpolation of control points, one value per sample, float64 (n,)."""
        block = self.rate_hz // CONTROL_HZ
        ramp = np.arange(block) / block
        return (control[:-1, None] + np.diff(control)[:, None] * ramp).ravel()[: self.n]


@lru_cache(maxsize=4)
def _band_of_bin(n: int) -> np.ndarray:
    bins = n // 2 + 1
    return np.minimum(np.arange(bins) * N_BANDS // (bins - 1), N_BANDS - 1)


def look_up(table: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Values of one revolution, (TABLE_SIZE,), at every angle in revolutions, (n,)."""
    return np.asarray(table[(angle * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)])


@dataclass(frozen=True)
class Place:
    """Where a recording is made: determines room, resonances and background in the whole simulated plant."""

    seed: int
    machine: str
    domain: str
    background: str


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

    def record(self, site: Site) -> np.ndarray:
        """Microphone signal, float32 (n,): all sources filtered by the room, and the factory background."""
        grid, place = self.grid, self.place
        self._add_clanks(site.clanks_per_s)
        response = room(place, grid)
        spectrum = self.spectrum + fft.rfft(self.tones)
        for modes, train in self.impacts.items():
            spectrum += fft.rfft(train) * resonances(place.seed, place.machine, modes, grid)
        noise = self.rng.standard_normal((grid.n // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0]
        machine_power = grid.spread(self.power) * room_power(place, grid)
        background = self._background(site.variation_db) * 10 ** (-site.snr_db / 10)
        per_bin = np.sqrt((machine_power + grid.spread(background)) * (grid.n / 2))
        gain = LEVEL * self.vary(1.5 * site.variation_db) * self._colour(0.6 * site.variation_db)
        spectrum *= response
        noise *= per_bin
        mixed = (spectrum + noise) * grid.spread(gain)
        mixed[: int(10 * grid.seconds)] = 0  # the microphone records nothing below 10 Hz
        return np.asarray(fft.irfft(mixed, grid.n, overwrite_x=True))

    def _shape(self, centre_hz: float, octaves: float) -> np.ndarray:
        return np.exp(-0.5 * (np.log2(self.grid.bands_hz / centre_hz) / octaves) ** 2)

    def _colour(self, spread_db: float) -> np.ndarray:
        """Smooth random gain per band: temperature, and small changes of the microphone's position."""
        octave = np.log2(self.grid.bands_hz / 40) / np.log2(self.grid.nyquist_hz / 40)
        ripple = np.cos(np.pi * np.outer(np.arange(1, 9), octave))
        return np.asarray(10 ** (self.rng.normal(0, spread_db, 8) @ ripple / 20))

    def _background(self, variation_db: float) -> np.ndarray:
        """Power per band of the factory background, mean near 1, varied from recording to recording."""
        power = background_power(self.place, self.grid) * self._colour(variation_db) ** 2
        return np.asarray(power * self.vary(1.5 * variation_db) ** 2)

    def _add_clanks(self, per_second: float) -> None:
        """Add impacts that have nothing to do with the machine, each with other resonances."""
        count = self.rng.poisson(per_second * self.grid.seconds)
        time_s = (np.arange(min(self.grid.n, self.grid.rate_hz // 8)) / self.grid.rate_hz).astype(np.float32)
        hertz = np.exp(self.rng.uniform(np.log(200), np.log(0.4 * self.grid.rate_hz), (count, 4, 1))).astype(np.float32)
        decay_s = self.rng.uniform(0.008, 0.025, (count, 4, 1)).astype(np.float32)
        rings = (np.sin(2 * np.pi * hertz * time_s) * np.exp(-time_s / decay_s)).sum(axis=1)
        starts = self.rng.integers(0, self.grid.n - len(time_s) + 1, count)
        for start, ring, loudness in zip(starts, rings, self.vary(6, count), strict=True):
            self.tones[start : start + len(ring)] += np.float32(loudness) * ring


MODES = {  # lowest and highest resonance in Hz, how many, decay time in seconds
    "body": (350.0, 2200.0, 6, 0.010),
    "bearing": (2200.0, 5200.0, 4, 0.0025),
    "rail": (1200.0, 4500.0, 5, 0.005),
}


@lru_cache(maxsize=8)
def resonances(seed: int, machine: str, modes: str, grid: Grid) -> np.ndarray:
    """Spectrum of the response to one impact, complex64 (n // 2 + 1,), the same in every recording of the machine."""
    low_hz, high_hz, count, decay_s = MODES[modes]
    rng = rng_of(seed, machine, "modes", modes)
    time_s = np.arange(min(grid.n, int(8 * decay_s * grid.rate_hz))) / grid.rate_hz
    even_hz = np.geomspace(low_hz, high_hz, count) * np.exp(rng.normal(0, 0.08, count))
    ring = np.zeros(len(time_s))
    for mode_hz in even_hz[even_hz < 0.95 * grid.nyquist_hz]:
        ring += np.sin(2 * np.pi * mode_hz * time_s) * np.exp(-time_s / (decay_s * rng.uniform(0.7, 1.3)))
    ring /= np.abs(ring).max(initial=1e-9)
    return np.asarray(fft.rfft(ring.astype(np.float32), grid.n))


@lru_cache(maxsize=8)
def room(place: Place, grid: Grid) -> np.ndarray:
    """Response from machine to microphone, complex64 (n // 2 + 1,): direct sound and a decaying diffuse tail.

    The two domains share most of the tail: the same room, another microphone.
    """
    tail_s = np.arange(1, min(grid.n, int(0.3 * grid.rate_hz))) / grid.rate_hz
    rngs = [rng_of(place.seed, place.machine, "room", name) for name in ("", place.domain)]
    shared, own = (rng.normal(size=len(tail_s)) for rng in rngs)
    tail = (shared + 0.3 * own) * np.exp(-tail_s / 0.05)
    impulse = np.concatenate([[1.0], 0.5 * tail / max(float(np.linalg.norm(tail)), 1e-9)])
    return np.asarray(fft.rfft(impulse.astype(np.float32), grid.n))


@lru_cache(maxsize=8)
def room_power(place: Place, grid: Grid) -> np.ndarray:
    """Squared magnitude of `room`, float32 (n // 2 + 1,)."""
    return np.asarray(np.abs(room(place, grid)) ** 2)


@lru_cache(maxsize=8)
def background_power(place: Place, grid: Grid) -> np.ndarray:
    """Power per band of one background, mean 1: 70 % common to all backgrounds, 30 % its own."""
    own, shared = (
        _random_background(rng_of(place.seed, "hall", name), grid.bands_hz) for name in (place.background, "all")
    )
    return 0.3 * own + 0.7 * shared


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
