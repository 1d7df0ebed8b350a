"""Plants with several machines of one kind: names, numbers of clips, conditions, and what is refused."""

import pytest

from featstore.errors import DataError
from featstore.plant.individuals.faults import SEVERITIES
from featstore.plant.individuals.fleet import CLIPS_PER_ID, Fleet, limits_of, plan
from featstore.plant.machines import MACHINES

FLEET = Fleet(clips=120, machines=("fan", "valve"), ids=3)


def test_clips_are_divided_among_individuals_and_splits():
    clips = list(plan(FLEET))
    assert len(clips) == 120
    counts = {}
    for clip in clips:
        key = clip.machine, clip.id, clip.split, clip.label
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 2 * 3 * 3
    assert set(counts.values()) == {12, 4}
    assert clips[0].path == "dev_data/raw/fan/train/normal_id_00_00000000.wav"
    assert clips[-1].path == "dev_data/raw/valve/test/anomaly_id_02_00000003.wav"


def test_at_most_two_hundred_clips_of_an_individual_are_test_clips():
    clips = list(plan(Fleet(machines=("pump",), ids=2)))
    assert len(clips) == 2 * CLIPS_PER_ID
    assert sum(clip.split == "test" for clip in clips) == 400
    assert sum(clip.label == "anomaly" for clip in clips) == 200


@pytest.mark.parametrize("machine", MACHINES)
def test_conditions_vary_between_the_limits_and_faults_are_of_anomalies(machine):
    clips = list(plan(Fleet(clips=200, machines=(machine,), ids=1)))
    for name, (low, high) in limits_of(machine).items():
        values = [dict(clip.condition)[name] for clip in clips]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    for clip in clips:
        assert (clip.fault in MACHINES[machine].faults) == (clip.label == "anomaly")
        assert (clip.severity in SEVERITIES) == (clip.label == "anomaly")


def test_a_clip_does_not_depend_on_others():
    few, many = set(plan(FLEET)), set(plan(Fleet(clips=400, machines=("valve", "slider", "fan"), ids=5)))
    assert few <= many


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ids": 0}, "0 machines of a type: expected 1 to 99"),
        ({"clips": 30}, "each machine needs at least 8; choose 336 clips or more"),
        ({"machines": ("drill",)}, "choose one or more"),
        ({"seconds": 0.5}, "1 to 600 seconds"),
    ],
)
def test_impossible_plants_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        Fleet(**wrong)
