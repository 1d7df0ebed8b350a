"""A unit of another worker is published only with exactly the clips of its plan, and finite rows."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from fakes import make_clips
from shared_plant import INLINE, MOMENTS, Plant

from featstore.audio.read import Recording
from featstore.building.prepare import infos_of
from featstore.building.units import UnitWork, shards_of
from featstore.building.work import Result
from featstore.clip import Clip
from featstore.disk.sealed import canonical, seal
from featstore.disk.shard import build_image
from featstore.distributed.gather import commit
from featstore.distributed.pending import FORMAT, VERSION, add, collect
from featstore.distributed.planfile import PlanFile
from featstore.distributed.shares import plan_shares
from featstore.errors import StoreError
from featstore.store import FeatureStore, Rejection, ShardData
from featstore.table import ClipTable

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def plan(tmp_path: Path) -> PlanFile:
    """A plan of one unit: two recordings, and a variant of each."""
    clips = make_clips(tmp_path / "data", 2)
    variants = [replace(clip, variant="louder 2 0", label="anomaly") for clip in clips]
    options = replace(INLINE, plan=replace(INLINE.plan, unit_clips=4))
    plant = Plant(tmp_path / "data", clips, tmp_path / "store")
    written = plan_shares(plant.root, [*clips, *variants], plant.store, [MOMENTS], options, asked={})
    assert written is not None
    assert len(written) == 1
    return written


def computed(plan: PlanFile, reasons: dict[int, str] | None = None) -> ShardData:
    """The right shard of the unit; reasons: of clips that are rejected, by position."""
    unit = plan.unit(0)
    results = [
        Result(reason=reasons[i])
        if reasons and i in reasons
        else Result(Recording(np.empty(0, np.float32), 8000, 400, 1, "a"), np.full(3, i, np.float32))
        for i in range(len(unit.clips))
    ]
    return shards_of(unit, infos_of([MOMENTS], INLINE), [results])[0]


def forged(plan: PlanFile, image: bytes) -> None:
    """A finished unit with any content, whose checksums are right."""
    digest = hashlib.sha256(image).hexdigest()
    (plan.folder / f"00000000-{digest}.h5").write_bytes(image)
    entries = [{"bytes": len(image), "sha256": digest}]
    record = {"format": FORMAT, "version": VERSION, "plan": plan.id, "unit": 0, "shards": entries}
    (plan.folder / "00000000.json").write_bytes(canonical(seal(record)))


def changed(image: bytes, change: Callable[[h5py.File], None]) -> bytes:
    file = io.BytesIO(image)
    with h5py.File(file, "r+") as opened:
        change(opened)
    return file.getvalue()


def not_finite(value: float) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["embedding"][1, 2] = value

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused(plan: PlanFile, value: float) -> None:
    forged(plan, changed(build_image(computed(plan), created=plan.created), not_finite(value)))
    with pytest.raises(StoreError, match="contains rows that are not finite"):
        collect(plan, 0)
    [gathered], store = commit(plan.store)
    assert gathered.missing == (0,)
    assert not store.embeddings


def without(data: ShardData, row: int) -> ShardData:
    keep = np.arange(len(data.clips)) != row
    facts = {name: column[keep] for name, column in data.facts.items()}
    return replace(data, clips=data.clips[keep], matrix=data.matrix[keep], facts=facts)


def reordered(data: ShardData) -> ShardData:
    order = np.array([1, 0, 2, 3])
    facts = {name: column[order] for name, column in data.facts.items()}
    return replace(data, clips=data.clips[order], matrix=data.matrix[order], facts=facts)


def of_clip(data: ShardData, row: int, **change: object) -> ShardData:
    clips = list(data.clips)
    clips[row] = replace(clips[row], **change)  # type: ignore[arg-type]
    return replace(data, clips=ClipTable.from_clips(clips))


def rejecting(data: ShardData, *keys: tuple[str, str]) -> ShardData:
    """keys: paths and variants."""
    rejected = [Rejection(path, "no sound", 800, 1, variant=variant) for path, variant in keys]
    return replace(data, rejected=[*data.rejected, *rejected])


PATH = "fan/0000.wav"
FOREIGN = {
    "a row is missing": lambda data: without(data, 3),
    "the row of a recording is missing": lambda data: without(data, 0),
    "another order": reordered,
    "another label": lambda data: of_clip(data, 0, label="anomaly"),
    "another machine": lambda data: of_clip(data, 0, machine="pump"),
    "another path": lambda data: of_clip(data, 0, path="fan/0009.wav"),
    "a recording in place of its variant": lambda data: of_clip(data, 2, variant=""),
    "another variant": lambda data: of_clip(data, 2, variant="louder 3 0"),
    "a rejection of another recording": lambda data: rejecting(data, ("fan/0009.wav", "")),
    "a rejection of another variant": lambda data: rejecting(data, (PATH, "louder 3 0")),
    "a rejection of a clip that has a row": lambda data: rejecting(data, (PATH, "")),
    "a variant is rejected for its recording": lambda data: rejecting(without(data, 0), (PATH, "louder 2 0")),
    "two rejections of a clip": lambda data: rejecting(without(data, 0), (PATH, ""), (PATH, "")),
}


@pytest.mark.parametrize("how", FOREIGN)
def test_other_clips_than_those_of_the_unit_are_refused(plan: PlanFile, how: str) -> None:
    forged(plan, build_image(FOREIGN[how](computed(plan)), created=plan.created))
    with pytest.raises(StoreError, match=r"does not contain the clips of unit 0|holds .* twice|is not a valid shard"):
        collect(plan, 0)


@pytest.mark.parametrize("rejected", [(), (2,), (0, 2), (0,), (0, 1, 2, 3)], ids=str)
def test_rows_and_rejections_are_those_of_recordings_and_variants_by_their_keys(
    plan: PlanFile, rejected: tuple[int, ...]
) -> None:
    clips = plan.unit(0).clips
    add(plan, plan.unit(0), [computed(plan, dict.fromkeys(rejected, "no sound"))])
    [shard] = collect(plan, 0)
    rows = [clip.key for i, clip in enumerate(clips) if i not in rejected]
    assert list(shard.keys) == rows + [clips[i].key for i in rejected]
    assert shard.rows == len(rows)
    commit(plan.store)
    store = FeatureStore.open(plan.store)
    assert [clip.key for clip in store.clips("moments")] == rows
    held = {(item.path, item.variant) for item in store.rejected("moments")}
    assert held == {(clips[i].path, clips[i].variant) for i in rejected}


def test_variants_have_their_own_key_and_the_path_of_their_recording_in_a_plan(plan: PlanFile) -> None:
    unit: UnitWork = plan.unit(0)
    recordings, variants = unit.clips[:2], unit.clips[2:]
    assert [clip.path for clip in recordings] == [clip.path for clip in variants]
    assert [clip.variant for clip in variants] == ["louder 2 0"] * 2
    assert len({clip.key for clip in unit.clips}) == 4
    assert unit.states[:2] == unit.states[2:]
    assert {state.size_bytes for state in unit.states} != {-1}
    assert isinstance(variants[0], Clip)
