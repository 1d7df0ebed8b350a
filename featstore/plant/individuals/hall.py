"""The noise of the hall, the same for all individuals of a type: some of many sources, at varying levels, and moving.

Recordings differ in which sources are heard and how loud, and the spectrum of a source changes while it moves. So the
noise has many more degrees of freedom than the individuals have.
"""

import numpy as np
from scipy import fft

from featstore.plant.acoustics import Scene
from featstore.plant.grid import CONTROL_HZ
from featstore.plant.place import hall_power

SOURCES, HEARD = 24, (2, 4)
"""Sources of a hall, and the least and largest number of them in one recording."""

SOURCE_DB, CLIP_DB = 4.0, 3.0
"""Standard deviations: of the levels of sources, and of the level of all together, from recording to recording."""

SWELL_DB, SWELL_S = 4.0, 0.6
"""How much the level of a source varies within a recording, and within what time."""

COLOUR_DB = 2.5
"""How much a ripple of the spectrum of a source differs from place to place (see `Scene.colour`)."""


def hall_noise(scene: Scene, snr_db: float, clanks_per_s: float) -> np.ndarray:
    """Spectrum of the noise at the microphone, complex (n // 2 + 1,): sources and unrelated impacts."""
    rng = scene.rng
    names = rng.choice(SOURCES, size=int(rng.integers(HEARD[0], HEARD[1] + 1)), replace=False)
    level = 10 ** (-snr_db / 20) * scene.vary(CLIP_DB) / np.sqrt(len(names))
    clanks = np.zeros(scene.grid.n, dtype=np.float32)
    scene.add_clanks(clanks, clanks_per_s * float(scene.vary(6)))
    return np.asarray(fft.rfft(clanks) + level * sum(_moving(scene, int(name)) for name in names))


def _moving(scene: Scene, name: int) -> np.ndarray:
    """Spectrum of one source that moves from one place to another and swells."""
    grid, place = scene.grid, scene.place
    power = hall_power(place.seed, f"{place.machine}/{name}", grid)
    swell = 10 ** (SWELL_DB * _smooth(scene) / 20) * scene.vary(SOURCE_DB)
    share = 1 / (1 + np.exp(-2 * _smooth(scene)))
    spectrum = np.zeros(grid.n // 2 + 1, dtype=np.complex64)
    for part in (np.sqrt(share), np.sqrt(1 - share)):
        noise = scene.rng.standard_normal(grid.n, dtype=np.float32)
        noise *= grid.upsample(swell * part).astype(np.float32)
        spectrum += fft.rfft(noise) * grid.spread(np.sqrt(power) * scene.colour(COLOUR_DB))
    return spectrum


def _smooth(scene: Scene) -> np.ndarray:
    """A smooth random process at the control points, standard deviation about 1."""
    window = np.hanning(int(2 * SWELL_S * CONTROL_HZ) + 2)[1:-1]
    steps = scene.rng.normal(size=len(scene.grid.control_s) + len(window) - 1)
    return np.asarray(np.convolve(steps, window / np.linalg.norm(window), mode="valid"))
