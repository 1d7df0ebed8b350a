"""A recording by two microphones: levels, and when near minus far removes the noise and when it cannot."""

from dataclasses import replace

import numpy as np
import pytest

from featstore.audio.near_far.subtract import Subtraction, near_minus_far
from featstore.plant.acoustics import Scene, Site
from featstore.plant.days import drift_of
from featstore.plant.grid import Grid
from featstore.plant.machines import MACHINES
from featstore.plant.pair import Pair
from featstore.plant.pair_scene import record_pair, room_of, setting_of
from featstore.plant.place import Place, room

RATE_HZ = 8000
GRID = Grid(5 * RATE_HZ, RATE_HZ)
PLACE = Place(0, "fan", "source", "A")
STEADY = Site(snr_db=0.0, clanks_per_s=0.0, variation_db=0.0)
LONG = Subtraction(window=4096)


def recording(site: Site, pair: Pair, *, machine: bool = True, place: Place = PLACE) -> np.ndarray:
    """Both channels (2, time) of a fan, or of its background alone."""
    scene = Scene(np.random.default_rng(0), GRID, place)
    if machine:
        MACHINES["fan"].render(scene, {"spd": 24, "load": 1}, dict.fromkeys(MACHINES["fan"].faults, 0.0))
    return record_pair(scene, site, pair)


def level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave))))


def removed_db(both: np.ndarray) -> float:
    return level_db(both[0]) - level_db(near_minus_far(*both, LONG)[0])


@pytest.mark.parametrize("leak_db", [-15.0, -3.0])
def test_without_noise_the_channels_differ_by_the_leak(leak_db):
    near, far = recording(replace(STEADY, snr_db=80.0), Pair(leak_db=leak_db))
    assert abs(level_db(far) - level_db(near) - leak_db) < 3  # of the energy; at the lines of a fan it varies


def test_the_near_microphone_hears_what_a_single_one_hears():
    single = Scene(np.random.default_rng(0), GRID, PLACE)
    MACHINES["fan"].render(single, {"spd": 24, "load": 1}, dict.fromkeys(MACHINES["fan"].faults, 0.0))
    assert abs(level_db(recording(STEADY, Pair())[0]) - level_db(single.record(STEADY))) < 2


def test_noise_of_one_source_is_explained_and_of_several_sources_less():
    by_sources = [removed_db(recording(STEADY, Pair(noise_sources=n), machine=False)) for n in (1, 2, 6)]
    assert by_sources[0] > by_sources[1] + 2
    assert by_sources[1] > by_sources[2]
    assert by_sources[0] > 5


def test_diffuse_noise_is_not_explained():
    shares = [removed_db(recording(STEADY, Pair(noise_sources=1, diffuse=d), machine=False)) for d in (0.0, 0.3, 1.0)]
    assert shares[0] > shares[1] + 1
    assert shares[1] > shares[2]
    assert shares[2] < 1


def test_a_source_that_moves_is_explained_less():
    stands, moves = (
        removed_db(recording(STEADY, Pair(noise_sources=1, moving=m), machine=False)) for m in (False, True)
    )
    assert stands > moves + 2


def test_strong_leakage_lets_the_subtraction_take_the_machine():
    quiet = replace(STEADY, snr_db=25.0)
    weak, strong = (removed_db(recording(quiet, Pair(leak_db=leak))) for leak in (-40.0, 0.0))
    assert strong > weak + 5


def test_impacts_nearby_come_from_the_first_noise_source():
    site = replace(STEADY, snr_db=60.0, clanks_per_s=5.0)
    near, far = recording(site, Pair(leak_db=-80.0), machine=False)
    assert level_db(far) > level_db(near) - 12
    assert np.abs(far).max() > 6 * far.std()


def test_each_microphone_has_its_own_sensor_noise():
    near, far = recording(replace(STEADY, snr_db=200.0), Pair(), machine=False)
    assert near.std() > 0
    assert abs(np.corrcoef(near, far)[0, 1]) < 0.03


def test_the_room_stays_and_the_sources_move_from_day_to_day():
    first, later, target = PLACE, replace(PLACE, day=3), replace(PLACE, domain="target")
    assert room_of(first) == room_of(later) == room_of(target)
    a, b, c = (setting_of(place, Pair(), GRID) for place in (first, later, target))
    assert a.stand == b.stand != c.stand
    np.testing.assert_array_equal(a.machine, b.machine)
    assert np.abs(a.sources[0] - b.sources[0]).max() > 0.1


def test_the_background_of_a_day_drifts_at_both_microphones():
    day = max(range(1, 30), key=lambda number: abs(drift_of(0, "fan", number).level_db))
    drift = drift_of(0, "fan", day).level_db
    assert abs(drift) > 4
    usual, then = (recording(STEADY, Pair(), machine=False, place=replace(PLACE, day=d)) for d in (0, day))
    assert abs(level_db(then[0]) - level_db(usual[0]) - drift) < 3


def test_the_response_of_the_machine_has_the_energy_of_that_to_a_single_microphone():
    near = setting_of(PLACE, Pair(), GRID).machine[0]
    np.testing.assert_allclose(np.square(np.abs(near)).mean(), np.square(np.abs(room(PLACE, GRID))).mean(), rtol=0.01)
