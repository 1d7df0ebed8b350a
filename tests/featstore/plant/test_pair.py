"""Two microphones: the levels of the responses, and a source that moves, by hand."""

import numpy as np
import pytest

from featstore.errors import DataError
from featstore.plant.pair import (
    Pair,
    heard,
    heard_moving,
    machine_responses,
    moved,
    noise_responses,
    pair_of,
    shares,
)
from featstore.plant.rooms import draw_noise_place, draw_room, draw_stand

RATE_HZ = 8000


@pytest.mark.parametrize("leak_db", [-15.0, 0.0])
def test_the_far_microphone_hears_the_machine_at_the_level_of_the_leak(leak_db, rng):
    room = draw_room(rng)
    near, far = machine_responses(room, draw_stand(rng, room), leak_db, RATE_HZ, rng)
    np.testing.assert_allclose(np.square(near).sum(), 1, rtol=1e-4)
    np.testing.assert_allclose(10 * np.log10(np.square(far).sum()), leak_db, atol=1e-3)


def test_noise_has_the_mean_energy_one_at_the_near_microphone(rng):
    room = draw_room(rng)
    stand = draw_stand(rng, room)
    places = np.stack([draw_noise_place(rng, room, stand) for _ in range(3)])
    responses = noise_responses(room, stand, places, RATE_HZ, rng)
    assert responses.shape[:2] == (3, 2)
    energy = np.square(responses).sum(axis=2)
    np.testing.assert_allclose(energy[:, 0].mean(), 1, rtol=1e-4)
    assert len(set(energy[:, 0].tolist())) == 3, "a place that is further away stays less loud"


def test_a_source_is_convolved_with_the_responses(rng):
    wave, responses = rng.normal(size=64), rng.normal(size=(2, 20))
    got = np.fft.irfft(heard(np.fft.rfft(wave), responses, 64), 64, axis=1)
    for channel in range(2):
        expected = np.convolve(wave, responses[channel])
        expected[:19] += expected[64:]  # wraps around
        np.testing.assert_allclose(got[channel], expected[:64], atol=1e-9)


@pytest.mark.parametrize("at", [0, 37, 100, 163, 199])
def test_a_moving_source_fades_from_one_response_to_the_next(at, rng):
    responses, wave = rng.normal(size=(3, 2, 10)), np.zeros(200)
    wave[at] = 1
    step, part = divmod(at, 100)
    expected = np.zeros((2, 210))
    expected[:, at : at + 10] += np.cos(np.pi / 2 * part / 100) * responses[step]
    if part:
        expected[:, at : at + 10] += np.sin(np.pi / 2 * part / 100) * responses[step + 1]
    np.testing.assert_allclose(moved(wave, responses), expected[:, :200], atol=1e-5)


def test_the_path_of_a_moving_source_is_random_and_repeatable(rng):
    room = draw_room(rng)
    stand = draw_stand(rng, room)
    wave = rng.normal(size=RATE_HZ).astype(np.float32)
    first, again, other = (heard_moving(wave, room, stand, RATE_HZ, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, RATE_HZ)
    assert np.abs(first - other).max() > 0.1
    np.testing.assert_allclose(np.square(first[0]).mean(), 1, rtol=0.3)


def test_shares_of_the_noise_add_up_to_one(rng):
    parts = np.stack([shares(rng, 3) for _ in range(200)])
    np.testing.assert_allclose(parts.sum(axis=1), 1)
    assert parts.min() > 0.01
    assert shares(rng, 1) == 1


def test_options_of_a_command():
    none = dict.fromkeys(("leak_db", "noise_sources", "diffuse", "moving"))
    assert pair_of(1, none) is None
    assert pair_of(2, none) == Pair()
    assert pair_of(2, none | {"leak_db": -3.0}) == Pair(leak_db=-3.0)
    with pytest.raises(DataError, match="--leak-db, --moving: only for two microphones; add --microphones 2"):
        pair_of(1, none | {"leak_db": -3.0, "moving": True})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"leak_db": -81.0}, "leak_db=-81: expected a level from -80 to 20 dB"),
        ({"leak_db": float("nan")}, "leak_db=nan"),
        ({"noise_sources": 0}, "noise_sources=0: expected 1 to 8"),
        ({"diffuse": 1.5}, "diffuse=1.5: expected a share from 0 to 1"),
    ],
)
def test_values_outside_of_their_ranges(values, message):
    with pytest.raises(DataError, match=message):
        Pair(**values)
