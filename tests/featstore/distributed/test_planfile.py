"""A plan on disk returns the planned units, and rejects forged content."""

import hashlib
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from shared_plant import INLINE, MOMENTS, Plant, make_plant

from featstore.building.plan import FileState
from featstore.clip import Clip
from featstore.disk.sealed import canonical, seal
from featstore.distributed.gather import commit
from featstore.distributed.plan_writer import remove_plan
from featstore.distributed.planfile import PlanFile, PlanGone, plan_for, plans_of, read_plan
from featstore.distributed.shares import plan_shares
from featstore.errors import RequestError, StoreError
from featstore.store import StoreWriter

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return make_plant(tmp_path, 5)


@pytest.fixture
def plan(plant: Plant) -> PlanFile:
    written = plant.plan()
    assert written is not None
    return written


def test_units_are_read_with_clips_and_states(plant: Plant, plan: PlanFile) -> None:
    odd = replace(plant.clips[1], path="fan/e\u0301 \udcff.wav", variant="louder 2 0", attributes={"speed": "7"})
    written = plan_shares(plant.root, [plant.clips[0], odd], plant.store, [MOMENTS], INLINE, asked={"prune": True})
    assert written is not None
    [read] = plans_of(plant.store)
    assert read == written
    assert (len(read), read.clips, read.listed, read.asked) == (1, 2, 2, {"prune": True})
    unit = read.unit(0)
    assert unit.clips == (plant.clips[0], odd)
    assert unit.states == (FileState.of(plant.root / plant.clips[0].path), FileState(-1, -1))


def test_a_removed_plan_is_distinguished_from_a_damaged_one(plant: Plant, plan: PlanFile) -> None:
    remove_plan(plan.folder)
    with pytest.raises(PlanGone, match="was completed or replaced"):
        plan.unit(0)
    none = r"no plan for moments \(plans in the store: none\); create it with featstore plan"
    with pytest.raises(RequestError, match=none):
        plan_for(plant.store, ["moments"])
    assert not (plant.store / "pending").exists()


def forge(plan: PlanFile, **change: object) -> Path:
    """Change the header, with a right checksum and folder name."""
    raw = json.loads((plan.folder / "plan.json").read_bytes()) | change
    raw.pop("checksum")
    (plan.folder / "plan.json").write_bytes(canonical(seal(raw)))
    raw.pop("created")
    return plan.folder.rename(plan.folder.with_name(hashlib.sha256(canonical(raw)).hexdigest()[:16]))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "featstore-manifest"},
        {"more": 1},
        {"root": 5},
        {"listed": -1},
        {"audio": {"channel": "left"}},
        {"audio": {"speed": 1}},
        {"embeddings": [{"name": "../x"}]},
        {"units": [{"clips": 1, "wanted": [7], "offset": 0, "bytes": 10, "sha256": "0" * 64}]},
        {"units": [{"clips": 1, "wanted": [0], "offset": 0, "bytes": 1 << 40, "sha256": "0" * 64}]},
        {"units": [{"clips": 1, "wanted": [0], "offset": -1, "bytes": 10, "sha256": "0" * 64}]},
        {"units": "many"},
    ],
    ids=str,
)
def test_forged_headers_are_refused(plant: Plant, plan: PlanFile, change: dict[str, object]) -> None:
    folder = forge(plan, **change)
    with pytest.raises(StoreError, match=r"plan\.json is not a valid plan: .* plan again"):
        read_plan(folder)
    with pytest.raises(StoreError):
        commit(plant.store)


def test_a_flipped_bit_is_reported(plan: PlanFile) -> None:
    for name, read in (("plan.json", lambda: read_plan(plan.folder)), ("units.jsonl", lambda: plan.unit(0))):
        content = bytearray((plan.folder / name).read_bytes())
        content[len(content) // 4] ^= 1
        (plan.folder / name).write_bytes(content)
        with pytest.raises(StoreError, match=name):
            read()


@pytest.mark.parametrize(
    "row",
    [
        {"path": "../secret.wav"},
        {"path": "fan/..#t=0,1"},
        {"path": "/etc/passwd"},
        {"path": 7},
        {"split": "validation"},
        {"label": ""},
        {"attributes": {"a": 1}},
        {"attributes": []},
        {"state": [1]},
        {"state": ["1", "2"]},
        {"more": 1, "path": None},
    ],
    ids=str,
)
def test_forged_units_are_refused(plan: PlanFile, row: dict[str, object]) -> None:
    good = json.loads((plan.folder / "units.jsonl").read_bytes().splitlines()[0])[0]
    data = json.dumps([good | row]).encode()
    (plan.folder / "units.jsonl").write_bytes(data)
    line = {"clips": 1, "wanted": [0], "offset": 0, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    folder = forge(plan, units=[line])
    with pytest.raises(StoreError, match="unit 0 is not valid"):
        read_plan(folder).unit(0)


def test_a_plan_that_was_changed_is_refused_although_its_checksum_is_right(plant: Plant, plan: PlanFile) -> None:
    forge(plan, listed=6).rename(plan.folder)
    with pytest.raises(StoreError, match="its content does not match the name of its folder"):
        plant.work()


@pytest.mark.parametrize("name", ["plan.json", "units.jsonl"])
def test_links_and_pipes_are_refused(plan: PlanFile, tmp_path: Path, name: str) -> None:
    path = plan.folder / name
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    with pytest.raises(StoreError, match="symbolic link"):
        read_plan(plan.folder).unit(0)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="not a regular file"):
        read_plan(plan.folder).unit(0)


def test_a_linked_pending_folder_is_refused_and_its_target_stays(plant: Plant, plan: PlanFile, tmp_path: Path) -> None:
    (plant.store / "pending").rename(tmp_path / "elsewhere")
    (plant.store / "pending").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "precious.tmp").mkdir()
    for act in (partial(commit, plant.store), plant.plan, plant.work):
        with pytest.raises(StoreError, match="symbolic link"):
            act()
    assert (tmp_path / "elsewhere" / plan.id / "plan.json").exists()
    assert (tmp_path / "elsewhere" / "precious.tmp").exists()


def test_the_next_commit_removes_leftovers_of_a_killed_planner(plant: Plant, plan: PlanFile) -> None:
    leftover = plant.store / "pending" / "0123456789abcdef.tmp"
    leftover.mkdir()
    (leftover / "units.jsonl").write_text("half")
    commit(plant.store)
    assert [path.name for path in (plant.store / "pending").iterdir()] == [plan.id]


def test_plans_of_different_embeddings_coexist(plant: Plant, plan: PlanFile) -> None:
    other = replace(MOMENTS, name="other")
    written = plan_shares(plant.root, plant.clips, plant.store, [other], INLINE, asked={})
    assert {stored.id for stored in plans_of(plant.store)} == {plan.id, written.id if written else ""}
    assert plan_for(plant.store, ["other"]) == written
    with StoreWriter(plant.store):
        assert len(plans_of(plant.store)) == 2


def test_every_field_of_a_clip_is_written() -> None:
    """`_row` must write every field of Clip, also new ones."""
    assert set(Clip.__dataclass_fields__) == {
        "path",
        "machine",
        "section",
        "split",
        "domain",
        "label",
        "attributes",
        "variant",
    }
