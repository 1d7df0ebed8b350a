"""A commit publishes exactly the valid planned units, and can be killed at any step."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fakes import MomentsEmbedder
from killed import Killed, KilledAtStep
from shared_plant import INLINE, MOMENTS, Plant, assert_same_rows, files_below, make_plant

from featstore.build import build
from featstore.building.prepare import infos_of, job_of
from featstore.building.units import UnitRun
from featstore.disk.sealed import canonical, seal
from featstore.distributed.gather import commit
from featstore.distributed.pending import add, finished
from featstore.distributed.planfile import PlanFile, plans_of
from featstore.distributed.shares import Share
from featstore.errors import RequestError, StoreError
from featstore.store import FeatureStore, ShardData, StoreWriter
from featstore.upkeep.verify import notes, verify

pytestmark = pytest.mark.usefixtures("unsynced")

KILLED = """
import os, signal, sys
from pathlib import Path
from featstore.disk import files
from featstore.distributed import gather
steps = [int(sys.argv[2])]
def step(function):
    def counted(*args, **more):
        steps[0] -= 1
        if not steps[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **more)
    return counted
for name in ("link", "replace", "unlink"):
    setattr(os, name, step(getattr(os, name)))
gather.commit(Path(sys.argv[1]))
"""


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    plant = make_plant(tmp_path, 5)
    build(plant.root, plant.clips, tmp_path / "whole", [MOMENTS], INLINE)
    return plant


@pytest.fixture
def plan(plant: Plant) -> PlanFile:
    plan = plant.plan()
    assert plan is not None
    return plan


def finish(plant: Plant) -> None:
    """Compute the missing units, commit, and check that the store is complete."""
    if plans_of(plant.store):
        plant.work()
        commit(plant.store)
    assert_same_rows(plant.store, plant.root.parent / "whole")
    assert verify(plant.store) == notes(plant.store) == []
    assert files_below(plant.store) == {"lock", "head.json", "build.json"}
    assert len(list((plant.store / "shards").iterdir())) == 3, "every unit was published once"


ACTS: dict[str, tuple[Callable[[Plant], object], Callable[[Plant], object]]] = {
    "plan": (lambda plant: None, lambda plant: plant.plan()),
    "plan anew": (lambda plant: (plant.plan(plant.clips[:3]), plant.work()), lambda plant: plant.plan()),
    "work": (lambda plant: plant.plan(), lambda plant: plant.work()),
    "commit": (lambda plant: (plant.plan(), plant.work()), lambda plant: commit(plant.store)),
    "build": (
        lambda plant: (plant.plan(), plant.work(Share(0, 3))),
        lambda plant: build(plant.root, plant.clips, plant.store, [MOMENTS], INLINE),
    ),
}
"""Steps before, and the command that is killed."""


@pytest.mark.parametrize("act", ACTS)
def test_after_a_kill_at_any_step_the_same_commands_give_the_same_store(
    plant: Plant, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featstore.distributed.gather.BATCH_UNITS", 2)
    before, killed = ACTS[act]
    plant.store.mkdir()
    before(plant)
    at, died = 0, True
    while died:
        at += 1
        mortal = Plant(plant.root, plant.clips, plant.root.parent / f"{act}{at}")
        shutil.copytree(plant.store, mortal.store)
        with pytest.MonkeyPatch.context() as patch:
            KilledAtStep(patch, at)
            try:
                killed(mortal)
                died = False
            except Killed:
                pass
        if (mortal.store / "manifest").is_dir() and (mortal.store / "shards").is_dir():
            assert verify(mortal.store) == []
        mortal.plan()
        finish(mortal)
        shutil.rmtree(mortal.store)
    assert at > 10, "there are steps to be killed at"


@pytest.mark.parametrize("step", [2, 4, 6, 8, 10])
def test_a_killed_commit_process_resumes_when_run_again(plant: Plant, plan: PlanFile, step: int) -> None:
    plant.work()
    command = [sys.executable, "-c", KILLED, str(plant.store), str(step)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    commit(plant.store)
    finish(plant)


def test_missing_units_are_named_and_the_others_published(plant: Plant, plan: PlanFile) -> None:
    plant.work(Share(1, 3))
    [gathered], store = commit(plant.store)
    assert (gathered.published, gathered.before, gathered.missing) == (1, 0, (0, 2))
    assert store.rows("moments") == 1, "the other recording of unit 1 is broken"
    assert gathered.rejected == 1
    plant.work(Share(2, 3))
    [gathered], _ = commit(plant.store)
    assert (gathered.published, gathered.before, gathered.missing) == (1, 1, (0,))
    finish(plant)


def test_a_commit_without_new_units_changes_nothing(plant: Plant, plan: PlanFile) -> None:
    plant.work(Share(1, 3))
    commit(plant.store)
    before = FeatureStore.open(plant.store).manifest
    commit(plant.store)
    assert FeatureStore.open(plant.store).manifest == before


def test_a_wrong_path_does_not_become_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a feature store"):
        commit(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def make_unit(plant: Plant, plan: PlanFile, number: int, *, as_number: int | None = None, scale: float = 1.0) -> None:
    """Add unit `number` to the plan under `as_number`, computed by an embedder with `scale`."""
    request = replace(MOMENTS, make=lambda: MomentsEmbedder(scale=scale))
    unit = plan.unit(number)

    def finish(_: object, shards: list) -> None:  # type: ignore[type-arg]
        add(plan, replace(unit, number=number if as_number is None else as_number), shards)

    run = UnitRun(infos_of([request], INLINE), len(unit.clips))
    run.execute([unit], job_of(plant.root, [request], INLINE), 0, finish)


def refused(plant: Plant, plan: PlanFile) -> str:
    """The reason of the only refused unit; another worker then computes it again."""
    [gathered], _ = commit(plant.store)
    assert 0 in gathered.missing
    assert 0 not in finished(plan)
    [reason] = gathered.refused.values()
    finish(plant)
    return reason


def test_a_unit_of_another_fingerprint_is_refused_and_named(plant: Plant, plan: PlanFile) -> None:
    make_unit(plant, plan, 0, scale=2.0)
    assert "has fingerprint 'moments-2.0', the plan has 'moments-1.0'" in refused(plant, plan)


def test_a_unit_with_the_clips_of_another_is_refused(plant: Plant, plan: PlanFile) -> None:
    make_unit(plant, plan, 1, as_number=0)
    assert "does not contain the clips of unit 0" in refused(plant, plan)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def image(plan: PlanFile) -> Path:
    return next(plan.folder.glob("00000000-*.h5"))


def reseal(folder: Path, **change: object) -> None:
    """Change the record of unit 0 and write a right checksum."""
    record = folder / "00000000.json"
    raw = json.loads(record.read_bytes()) | change
    raw.pop("checksum")
    record.write_bytes(canonical(seal(raw)))


def forge(plan: PlanFile, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    (plan.folder / f"00000000-{digest}.h5").write_bytes(content)
    reseal(plan.folder, shards=[{"bytes": len(content), "sha256": digest}])


HARMS = {
    "bit flip": (lambda plan: flip(image(plan)), "is damaged"),
    "truncated": (lambda plan: image(plan).write_bytes(image(plan).read_bytes()[:-1]), "is damaged"),
    "longer": (lambda plan: image(plan).write_bytes(image(plan).read_bytes() + b"x"), "bytes; the limit is"),
    "missing": (lambda plan: image(plan).unlink(), "is missing"),
    "link": (lambda plan: (image(plan).rename(plan.folder / "x"), image_link(plan)), "symbolic link"),
    "no HDF5": (lambda plan: forge(plan, b"not a shard"), "is not a valid shard"),
    "torn record": (lambda plan: flip(plan.folder / "00000000.json"), "is not a valid record"),
    "another plan": (lambda plan: reseal(plan.folder, plan="0" * 16), "is not a valid record"),
    "another unit": (lambda plan: reseal(plan.folder, unit=1), "is not a valid record"),
    "no shards": (lambda plan: reseal(plan.folder, shards=[]), "has 0 shards, expected 1 of at most"),
    "path": (lambda plan: reseal(plan.folder, shards=[{"bytes": 1, "sha256": "../x"}]), "is not a valid record"),
    "huge": (
        lambda plan: reseal(plan.folder, shards=[{"bytes": 1 << 40, "sha256": "0" * 64}]),
        "is not a valid record",
    ),
}


def image_link(plan: PlanFile) -> None:
    digest = json.loads((plan.folder / "00000000.json").read_bytes())["shards"][0]["sha256"]
    (plan.folder / f"00000000-{digest}.h5").symlink_to(plan.folder / "x")


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_or_forged_unit_is_refused_and_computed_again(plant: Plant, plan: PlanFile, harm: str) -> None:
    make_unit(plant, plan, 0)
    act, words = HARMS[harm]
    act(plan)
    assert words in refused(plant, plan)


def test_units_do_not_mix_with_rows_stored_in_the_meantime(plant: Plant, plan: PlanFile) -> None:
    other = replace(MOMENTS, make=partial(MomentsEmbedder, scale=2.0))
    plant.work(Share(0, 3))
    build(plant.root, plant.clips[:1], plant.root.parent / "other", [other], INLINE)
    store = FeatureStore.open(plant.root.parent / "other")
    rows = ShardData(store.info("moments"), store.clips("moments"), store.matrix("moments"), store.facts("moments"))
    with StoreWriter(plant.store) as writer:
        writer.commit([rows])
    with pytest.raises(RequestError, match=r"stored with fingerprint 'moments-2\.0', the new rows have 'moments-1\.0'"):
        commit(plant.store)
    assert finished(plan) == {0: False}, "it can still be published, once the other is dropped"
    build(plant.root, plant.clips, plant.store, [other], INLINE)
    assert FeatureStore.open(plant.store).rows("moments") == 4
    assert plans_of(plant.store) == []


def test_rows_are_published_without_copying_them(plant: Plant, plan: PlanFile) -> None:
    plant.work()
    inodes = {path.stat().st_ino for path in plan.folder.glob("*.h5")}
    commit(plant.store)
    assert {path.stat().st_ino for path in (plant.store / "shards").iterdir()} == inodes


def test_without_hard_links_rows_are_copied(plant: Plant, plan: PlanFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(1, "no hard links here")

    plant.work()
    monkeypatch.setattr("os.link", refuse)
    commit(plant.store)
    finish(plant)
