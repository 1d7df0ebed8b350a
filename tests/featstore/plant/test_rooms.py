"""Rooms: places, image sources by hand, the reverberation time, and the join of both parts of a response."""

import numpy as np
import pytest

from featstore.plant import rooms as module
from featstore.plant.rooms import (
    EARLY_S,
    FAR_M,
    NEAR_M,
    NOISE_M,
    SOUND_M_S,
    Room,
    draw_noise_place,
    draw_path,
    draw_room,
    draw_stand,
    images,
    response,
)

RATE_HZ = 16_000
ROOM = Room((6.0, 5.0, 3.0), 0.4)


def test_rooms_and_places_are_within_their_ranges(rng):
    for _ in range(50):
        room = draw_room(rng, (0.3, 0.5))
        stand = draw_stand(rng, room)
        near, far = (np.linalg.norm(np.subtract(place, stand.machine)) for place in (stand.near, stand.far))
        assert 0.3 <= room.reverberation_s <= 0.5
        assert NEAR_M[0] <= near <= NEAR_M[1]
        assert FAR_M[0] <= far <= FAR_M[1]
        noise = draw_noise_place(rng, room, stand)
        assert all(room.holds(np.array(place)) for place in (stand.machine, stand.near, stand.far, noise))
        assert min(np.linalg.norm(noise - place) for place in (stand.near, stand.far)) >= NOISE_M
        path = draw_path(rng, room, stand, 5)
        assert path.shape == (5, 3)
        assert 2 <= np.linalg.norm(path[-1] - path[0]) <= 4
        np.testing.assert_allclose(np.diff(path, axis=0), np.tile((path[-1] - path[0]) / 4, (4, 1)))


def test_images_are_mirrored_at_the_walls():
    found = {tuple(np.round(place, 6)) for place in images(ROOM, np.array([1.0, 2.0, 0.5]), 1.0)}
    for first_order in [(-1, 2, 0.5), (11, 2, 0.5), (1, -2, 0.5), (1, 8, 0.5), (1, 2, -0.5), (1, 2, 5.5)]:
        assert first_order in found
    assert (13.0, 2.0, 0.5) in found  # twice, at both walls
    assert (1.0, 2.0, 0.5) in found


def test_the_direct_sound_comes_first_with_the_amplitude_one_over_its_distance(rng):
    source, microphone = np.array([1.0, 2.0, 1.0]), np.array([1.0 + 50 * SOUND_M_S / RATE_HZ, 2.0, 1.0])
    wave = response(ROOM, source, microphone, RATE_HZ, rng)
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave[:50], 0, atol=1e-6)
    np.testing.assert_allclose(wave[50], RATE_HZ / (50 * SOUND_M_S), rtol=1e-4)


def test_a_time_between_two_samples_is_divided(rng):
    microphone = np.array([1.0 + 40.25 * SOUND_M_S / RATE_HZ, 2.0, 1.0])
    wave = response(ROOM, np.array([1.0, 2.0, 1.0]), microphone, RATE_HZ, rng)
    np.testing.assert_allclose(wave[41] / wave[40], 1 / 3, rtol=1e-3)


@pytest.mark.parametrize("reverberation_s", [0.2, 0.4, 0.6])
def test_the_response_decays_in_the_reverberation_time(reverberation_s, rng):
    times = []
    for _ in range(8):
        room = draw_room(rng, (reverberation_s, reverberation_s))
        stand = draw_stand(rng, room)
        wave = response(room, draw_noise_place(rng, room, stand), np.array(stand.far), RATE_HZ, rng)
        left_db = 10 * np.log10(
            np.cumsum(np.square(wave, dtype=float)[::-1])[::-1] / np.square(wave, dtype=float).sum()
        )
        start, end = (int(np.argmax(left_db < level)) for level in (-5, -25))  # Schroeder's integral
        times.append(3 * (end - start) / RATE_HZ)
    np.testing.assert_allclose(np.mean(times), reverberation_s, rtol=0.12)


def test_the_late_part_goes_on_at_the_level_of_the_images(rng, monkeypatch):
    early, late = [], []
    part = slice(int(0.03 * RATE_HZ), int(EARLY_S * RATE_HZ))
    for _ in range(60):
        room = draw_room(rng)
        stand = draw_stand(rng, room)
        for energies, until_s in ((early, EARLY_S), (late, 0.03)):
            monkeypatch.setattr(module, "EARLY_S", until_s)
            wave = response(room, np.array(stand.machine), np.array(stand.far), RATE_HZ, rng)
            energies.append(np.square(wave[part]).sum())
    assert abs(10 * np.log10(np.mean(early) / np.mean(late))) < 1.5


def test_two_microphones_hear_different_late_sound(rng):
    first, second = (response(ROOM, np.array([1.0, 2, 1]), np.array([3.0, y, 1]), RATE_HZ, rng) for y in (1, 4))
    late = slice(int(EARLY_S * RATE_HZ), None)
    assert abs(np.corrcoef(first[late], second[late])[0, 1]) < 0.06
