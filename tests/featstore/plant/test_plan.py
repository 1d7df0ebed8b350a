"""What a simulated plant consists of: its shares, conditions, faults and days."""

from collections import Counter

import pytest

from featstore.errors import DataError
from featstore.plant.days import days_of_tests
from featstore.plant.machines import MACHINES
from featstore.plant.pair import Pair
from featstore.plant.plan import SEVERITIES, Plant, plan


def test_default_plant_has_the_documented_shares():
    count = Counter((clip.machine, clip.split, clip.domain, clip.label) for clip in plan(Plant()))
    assert sum(count.values()) == 1200
    for machine in MACHINES:
        assert count[machine, "train", "source", "normal"] == 110
        assert count[machine, "train", "target", "normal"] == 10
        assert {count[machine, "test", d, label] for d in ("source", "target") for label in ("normal", "anomaly")} == {
            20
        }


@pytest.mark.parametrize(
    ("clips", "train", "target", "test"), [(8, 4, 1, 4), (1200, 1000, 10, 200), (9999, 9799, 97, 200)]
)
def test_shares_of_one_machine(clips, train, target, test):
    planned = list(plan(Plant(clips=clips, machines=("fan",))))
    assert len(planned) == clips
    assert sum(clip.split == "train" for clip in planned) == train
    assert sum(clip.split == "train" and clip.domain == "target" for clip in planned) == target
    assert sum(clip.split == "test" for clip in planned) == test


def test_the_number_of_clips_is_exact():
    count = Counter(clip.machine for clip in plan(Plant(clips=50, machines=("fan", "pump", "valve"))))
    assert count == {"fan": 17, "pump": 17, "valve": 16}


def test_a_larger_plant_contains_the_smaller_one():
    large = {clip.path: clip for clip in plan(Plant(clips=900))}
    for clip in plan(Plant(clips=60, machines=("slider", "fan"))):
        assert large[clip.path] == clip


def test_every_fault_and_every_severity_occurs():
    drawn = {(clip.machine, clip.fault) for clip in plan(Plant()) if clip.fault}
    assert drawn == {(name, fault) for name, machine in MACHINES.items() for fault in machine.faults}
    assert {clip.severity for clip in plan(Plant())} == {0.0, *SEVERITIES}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"machines": ("fan", "toaster")}, "choose one or more, each once, from bearing"),
        ({"machines": ()}, "none"),
        ({"machines": ("fan", "fan")}, "once"),
        ({"clips": 47}, "at least 8"),
        ({"seconds": 0.5}, "1 to 600 seconds"),
        ({"seconds": float("nan")}, "1 to 600 seconds"),
        ({"sample_rate_hz": 4000}, "8000 to 192000 Hz"),
        ({"seed": -1}, "seed"),
        ({"days": 2}, "2 days: expected 3 to 999"),
        ({"days": -1}, "-1 days"),
    ],
)
def test_impossible_plants_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        Plant(**wrong)


def test_days_of_test_clips_are_the_last_ones_and_others_than_those_of_training_clips():
    days: dict[str, set[int]] = {"train": set(), "test": set()}
    for clip in plan(Plant(days=10)):
        assert clip.path.endswith(f"_day_{dict(clip.attributes)['day']}.wav")
        days[clip.split].add(int(dict(clip.attributes)["day"]))
    assert days == {"train": set(range(1, 8)), "test": {8, 9, 10}}
    assert days_of_tests(10) == 3


def test_days_change_nothing_else():
    for with_day, without in zip(plan(Plant(clips=60, days=5)), plan(Plant(clips=60)), strict=True):
        assert with_day.attributes[:-1] == without.attributes
        assert (with_day.identity, with_day.fault, with_day.severity) == (
            without.identity,
            without.fault,
            without.severity,
        )


def test_days_have_texts_in_the_order_of_their_numbers():
    texts = {dict(clip.attributes)["day"] for clip in plan(Plant(days=12))}
    assert sorted(texts) == [f"{day:02d}" for day in range(1, 13)]


def test_a_file_of_two_microphones_has_twice_the_samples():
    one, two = Plant(), Plant(pair=Pair())
    assert (one.channels, two.channels) == (1, 2)
    assert two.file_bytes - 44 == 2 * (one.file_bytes - 44)
