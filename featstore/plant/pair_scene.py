"""A recording of the simulated plant by two microphones.

The machine, its faults and the statistics of the background are those of the recordings with one microphone. The
background comes from several sources, each with its own place and spectrum, and impacts nearby come from the first one.
The near microphone hears machine and background at the levels that a single one does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from featstore.plant.acoustics import LEVEL, Scene, Site
from featstore.plant.grid import Grid, rng_of
from featstore.plant.pair import Pair, heard, heard_moving, machine_responses, noise_responses, shares
from featstore.plant.place import Place, background_power, drift_gain, hall_power
from featstore.plant.rooms import Room, Stand, draw_noise_place, draw_room, draw_stand

SENSOR_DB = -50.0
"""Level of the noise of each microphone, relative to the loudest part of a healthy machine."""

MACHINE_POWER = 1.25
"""Energy of the response from the machine to the near microphone, that of a single microphone."""


@dataclass(frozen=True)
class Setting:
    """A room with a machine, its microphones and its noise sources, and what the responses do to a spectrum.

    machine: (2, bins). sources: (2, bins) of each source that stands, at its full power. shares: of the noise power.
    """

    room: Room
    stand: Stand
    machine: np.ndarray
    sources: tuple[np.ndarray, ...]
    shares: tuple[float, ...]


def room_of(place: Place) -> Room:
    """The room of a machine, the same on every day."""
    return draw_room(rng_of(place.seed, place.machine, "room of two"))


@lru_cache(maxsize=8)
def setting_of(place: Place, pair: Pair, grid: Grid) -> Setting:
    """The same room in all recordings of the machine; in the other domain both microphones stand elsewhere.

    The noise sources have other places for every background and on every day.
    """
    room = room_of(place)
    stand = draw_stand(rng_of(place.seed, place.machine, "stand", place.domain), room)
    rng = rng_of(place.seed, place.machine, "responses", place.domain)
    one = np.ones(1, dtype=np.complex64)
    machine = heard(one, machine_responses(room, stand, pair.leak_db, grid.rate_hz, rng), grid.n)
    rng = rng_of(place.seed, place.machine, "sources", place.domain, place.background, place.day)
    parts = tuple(shares(rng, pair.noise_sources).tolist())
    places = [draw_noise_place(rng, room, stand)[None] for _ in parts]
    sources = [heard(one, noise_responses(room, stand, at, grid.rate_hz, rng)[0], grid.n) for at in places]
    return Setting(room, stand, np.float32(np.sqrt(MACHINE_POWER)) * machine, tuple(sources), parts)


def record_pair(scene: Scene, site: Site, pair: Pair) -> np.ndarray:
    """Signals of both microphones, float32 (2, n)."""
    grid, rng = scene.grid, scene.rng
    setting = setting_of(scene.place, pair, grid)
    both = (scene.sources() + scene.noise(scene.power)) * setting.machine
    level = 10 ** (-site.snr_db / 10)
    clanks = np.zeros(grid.n, dtype=np.float32)
    scene.add_clanks(clanks, site.clanks_per_s)
    for k, spectrum in enumerate(_noises(scene, pair, setting, site.variation_db, level)):
        source = spectrum + fft.rfft(clanks) if k == 0 else spectrum
        if k == 0 and pair.moving:
            wave = fft.irfft(source, grid.n)
            both += fft.rfft(heard_moving(wave, setting.room, setting.stand, grid.rate_hz, rng), axis=1)
        else:
            both += source * setting.sources[k]
    field = pair.diffuse * level * scene.varied(background_power(scene.place, grid), site.variation_db)
    gain = LEVEL * scene.vary(1.5 * site.variation_db)
    for spectrum in both:
        spectrum += scene.noise(field + 10 ** (SENSOR_DB / 10))
        spectrum *= grid.spread(gain * scene.colour(0.6 * site.variation_db))
        spectrum[: int(10 * grid.seconds)] = 0  # the microphones record nothing below 10 Hz
    return np.asarray(fft.irfft(both, grid.n, axis=1))


def _noises(scene: Scene, pair: Pair, setting: Setting, variation_db: float, level: float) -> Iterable[np.ndarray]:
    """Spectrum of every noise source: together they have the coherent part of the background's power."""
    place, grid = scene.place, scene.grid
    drift = drift_gain(place, grid) ** 2
    shared = hall_power(place.seed, "all", grid)
    for k, share in enumerate(setting.shares):
        own = hall_power(place.seed, place.background if k == 0 else f"{place.background}/{k}", grid)
        power = (0.3 * own + 0.7 * shared) * drift * (share * (1 - pair.diffuse) * level)
        yield scene.noise(scene.varied(power, variation_db))
