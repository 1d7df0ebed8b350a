"""A plan that is equal to an earlier one has the same name; its units are published all the same."""

import errno
import os
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
from fakes import write_clip
from shared_plant import INLINE, MOMENTS, Plant, assert_same_rows, make_plant

from featstore.build import build
from featstore.distributed.gather import commit
from featstore.store import FeatureStore
from featstore.upkeep.verify import notes, verify

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return make_plant(tmp_path, 5)


def share(plant: Plant) -> str:
    """Plan, work and commit; the name of the plan."""
    plant.plan()
    plant.work()
    [gathered], _ = commit(plant.store)
    assert gathered.published == 3
    return gathered.plan.id


def write(plant: Plant, shift: int) -> None:
    """Other recordings under the same names, with the same sizes; their times follow from `shift`."""
    for i, clip in enumerate(plant.clips):
        if i != 2:  # the damaged one
            write_clip(plant.root, clip.path, i + shift)
        os.utime(plant.root / clip.path, ns=(shift * 10**12, shift * 10**12))


def assert_as_built(plant: Plant) -> None:
    whole = plant.root.parent / "whole"
    build(plant.root, plant.clips, whole, [MOMENTS], INLINE)
    assert_same_rows(plant.store, whole)
    assert verify(plant.store) == notes(plant.store) == []


def test_recordings_that_could_not_be_read_at_first_get_their_rows(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("featstore.audio.read.open_without_waiting", refuse)
        first = share(plant)
    assert len(FeatureStore.open(plant.store).rejected("moments")) == 5
    assert share(plant) == first
    assert FeatureStore.open(plant.store).rows("moments") == 4
    assert_as_built(plant)


class OneSecond(datetime):
    """All plans are written in the same second, so that equal recordings give equal shards."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "OneSecond":
        return cls(2026, 1, 1, tzinfo=tz)


@pytest.mark.parametrize("clock", [datetime, OneSecond])
def test_recordings_that_were_others_meanwhile_get_their_rows_back(
    plant: Plant, clock: type[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featstore.distributed.plan_writer.datetime", clock)
    names = []
    for shift in (10, 20, 10):
        write(plant, shift)
        names.append(share(plant))
    assert names[0] == names[2] != names[1]
    assert_as_built(plant)
