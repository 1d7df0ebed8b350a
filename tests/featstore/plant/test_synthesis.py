"""The sound of a clip: with one microphone as it always was, and what days and a second microphone change."""

from dataclasses import replace

import numpy as np
import pytest
from places import DATA

from featstore.plant.pair import Pair
from featstore.plant.plan import Plant, SimulatedClip, plan
from featstore.plant.synthesis import place_of, synthesise

PLANT = Plant(clips=48, seconds=1.0, sample_rate_hz=8000)
GOLDEN = dict(np.load(DATA / "simulated_clips.npz"))


def named(name: str) -> SimulatedClip:
    machine, file = name.split("/")
    return next(clip for clip in plan(PLANT) if clip.machine == machine and clip.path.endswith(file))


@pytest.mark.parametrize("name", GOLDEN)
def test_recordings_by_one_microphone_stay_as_they_were(name):
    pcm = np.round(synthesise(PLANT, named(name)) * 32767)
    difference = np.abs(pcm - GOLDEN[name])
    assert difference.max() <= 1  # rounding, with other libraries
    assert np.mean(difference > 0) < 0.01


def test_golden_clips_are_of_every_machine_normal_and_faulty():
    assert {name.split("/")[0] for name in GOLDEN} == set(PLANT.machines)
    assert {named(name).label for name in GOLDEN} == {"normal", "anomaly"}


def test_a_day_changes_background_and_room_only():
    days = replace(PLANT, days=9)
    clip = next(clip for clip in plan(days) if clip.machine == "fan")
    other = replace(clip, attributes=(*clip.attributes[:-1], ("day", "8")))
    assert place_of(days, clip).day != place_of(days, other).day == 8
    first, second = synthesise(days, clip), synthesise(days, other)
    assert np.abs(first - second).max() > 0.001
    np.testing.assert_array_equal(synthesise(days, clip), first)


def test_two_microphones_give_two_channels_and_the_same_ones_each_time():
    plant = replace(PLANT, pair=Pair())
    for clip in list(plan(plant))[::9]:
        sound = synthesise(plant, clip)
        assert sound.shape == (8000, 2)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 0.98
        assert np.abs(sound[:, 0] - sound[:, 1]).max() > 0.001
        np.testing.assert_array_equal(synthesise(plant, clip), sound)
