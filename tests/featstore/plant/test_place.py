"""Places: what the day changes in background and room, by its drift."""

from dataclasses import replace

import numpy as np

from featstore.plant.days import drift_of
from featstore.plant.grid import Grid
from featstore.plant.place import Place, background_power, drift_gain, room

GRID = Grid(16_000, 16_000)
PLACE = Place(0, "fan", "source", "A")


def test_the_background_of_a_day_has_its_level_and_spectrum():
    plain = background_power(PLACE, GRID)
    np.testing.assert_allclose(plain.mean(), 1, rtol=1e-9)
    np.testing.assert_array_equal(drift_gain(PLACE, GRID), 1)
    for day in (1, 2, 9):
        drift = drift_of(0, "fan", day)
        octave = np.log2(GRID.bands_hz / 40) / np.log2(8000 / 40)
        ripples_db = sum(weight * np.cos(np.pi * k * octave) for k, weight in enumerate(drift.ripples_db, start=1))
        got_db = 10 * np.log10(background_power(replace(PLACE, day=day), GRID) / plain)
        np.testing.assert_allclose(got_db, drift.level_db + ripples_db, atol=1e-9)


def test_the_room_of_a_day_has_the_same_direct_sound_and_nearly_the_same_tail():
    plain, first, second = (np.fft.irfft(room(replace(PLACE, day=day), GRID), GRID.n) for day in (0, 1, 2))
    for wave in (plain, first, second):
        np.testing.assert_allclose(wave[0], 1, rtol=1e-5)
        np.testing.assert_allclose(np.square(wave[1:]).sum(), 0.25, rtol=1e-4)
    alike = np.corrcoef(np.stack([plain, first, second])[:, 1:])
    assert ((alike > 0.85) & (alike < 0.99))[np.triu_indices(3, 1)].all()
