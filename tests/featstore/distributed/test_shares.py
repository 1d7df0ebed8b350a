"""A build shared by workers gives the same store as a single build, also after crashes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fakes import MomentsEmbedder, write_clip
from shared_plant import INLINE, LIMIT_S, MOMENTS, Plant, assert_same_rows, done, files_below, make_plant

from featstore.audio.policy import AudioPolicy
from featstore.build import BuildOptions, Request, build
from featstore.building.units import Progress
from featstore.distributed.gather import commit
from featstore.distributed.lease import Leases
from featstore.distributed.pending import finished
from featstore.distributed.planfile import plans_of
from featstore.distributed.shares import Share, plan_shares, work_share
from featstore.errors import DataError, RequestError, ResourceError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.verify import notes, verify

DOUBLE = Request("double", partial(MomentsEmbedder, scale=2.0))

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return make_plant(tmp_path)


@pytest.fixture
def whole(plant: Plant) -> Path:
    """The store of a single build."""
    build(plant.root, plant.clips, plant.root.parent / "whole", [MOMENTS], INLINE)
    return plant.root.parent / "whole"


def publish(store: Path) -> None:
    gathered, _ = commit(store)
    assert all(result.complete and not result.refused for result in gathered)
    assert verify(store) == notes(store) == []
    assert files_below(store) == {"lock", "head.json", "build.json"}, "the plan is removed"


def shards(store: Path) -> list[tuple[str, bytes]]:
    """Name and bytes of every shard, in row order."""
    entries = FeatureStore.open(store).manifest.shards
    return [(entry.file, (store / "shards" / entry.file).read_bytes()) for entry in entries]


def test_one_two_and_four_workers_write_the_same_bytes(plant: Plant, whole: Path, tmp_path: Path) -> None:
    plant.plan()
    shards_of = {}
    for name, world in (("one", 1), ("two", 2), ("four", 4), ("claiming", 4)):
        fleet = Plant(plant.root, plant.clips, tmp_path / name)
        shutil.copytree(plant.store, fleet.store)
        done(*[fleet.worker(rank, world, claim=name == "claiming") for rank in range(world)])
        publish(fleet.store)
        assert_same_rows(fleet.store, whole)
        shards_of[name] = shards(fleet.store)
    assert len(shards_of["one"]) == 6
    assert shards_of["one"] == shards_of["two"] == shards_of["four"] == shards_of["claiming"]


def test_a_grown_changed_relabelled_pruned_store_and_a_second_embedding(tmp_path: Path) -> None:
    plant = make_plant(tmp_path, 16)
    before, after = tmp_path / "before", replace(plant.clips[4], label="anomaly")
    build(plant.root, plant.clips[:9], before, [MOMENTS], INLINE)
    shutil.copytree(before, tmp_path / "plain")
    shutil.copytree(before, tmp_path / "shared")
    write_clip(plant.root, plant.clips[1].path, seed=99, samples=555)
    (plant.root / plant.clips[5].path).write_bytes(b"broken meanwhile")
    clips = [clip if clip.path != after.path else after for clip in plant.clips if clip != plant.clips[7]]
    requests, options = [MOMENTS, DOUBLE], replace(INLINE, prune=True)
    build(plant.root, clips, tmp_path / "plain", requests, options)
    plan = plan_shares(plant.root, clips, tmp_path / "shared", requests, options, asked={})
    assert plan is not None
    assert {line.wanted for line in plan.lines} == {(0, 1), (1,)}
    for rank in (2, 0, 1):
        work_share(plant.root, tmp_path / "shared", requests, options, Share(rank, 3))
    publish(tmp_path / "shared")
    assert_same_rows(tmp_path / "shared", tmp_path / "plain")


def test_generated_variants_are_shared_like_recordings(plant: Plant) -> None:
    clips = [*plant.clips, *(replace(clip, variant="louder 2 0", label="anomaly") for clip in plant.clips[:5])]
    options = replace(INLINE, render=_louder)
    build(plant.root, clips, plant.root.parent / "whole", [MOMENTS], options)
    plan_shares(plant.root, clips, plant.store, [MOMENTS], options, asked={})
    with pytest.raises(RequestError, match=r"generated variants; set BuildOptions\.render"):
        plant.work()
    work_share(plant.root, plant.store, [MOMENTS], options, Share(claim=True))
    publish(plant.store)
    assert_same_rows(plant.store, plant.root.parent / "whole")


def _louder(wave, rate_hz, variant):  # type: ignore[no-untyped-def]
    return wave * float(variant.split()[1])


def test_processes_of_a_worker_change_nothing(plant: Plant, whole: Path) -> None:
    plant.plan()
    work_share(plant.root, plant.store, [MOMENTS], replace(INLINE, workers=2), Share(claim=True))
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_existing_rows_are_not_planned_and_an_equal_plan_is_unchanged(plant: Plant, whole: Path) -> None:
    assert plan_shares(plant.root, plant.clips, whole, [MOMENTS], INLINE, asked={}) is None
    first = plant.plan()
    plant.work(Share(0, 2))
    again = plant.plan()
    assert first is not None
    assert again == first
    assert len(finished(first)) == 3
    assert plant.work().units == 3, "finished units are not computed again"


def test_a_commit_during_the_work_keeps_the_order_of_the_plan(plant: Plant, whole: Path) -> None:
    plant.plan()
    for rank in (3, 1, 0, 2):
        plant.work(Share(rank, 4))
        commit(plant.store)
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_another_worker_computes_the_unit_of_a_killed_one(plant: Plant, whole: Path) -> None:
    """The lease remains: the other worker waits for the limit, then computes the unit."""
    plant.plan()
    victim = plant.caught()
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    [plan] = plans_of(plant.store)
    assert list(plan.folder.glob("*.lease"))
    assert list(plan.folder.glob("*.beat")), "its heartbeat file remains"
    assert finished(plan) == {}
    done(plant.worker())
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_a_worker_that_is_paused_past_its_lease_does_no_harm(plant: Plant, whole: Path) -> None:
    plant.plan()
    sleeper = plant.caught()
    sleeper.send_signal(signal.SIGSTOP)
    done(plant.worker())
    [plan] = plans_of(plant.store)
    assert len(finished(plan)) == len(plan)
    sleeper.send_signal(signal.SIGCONT)
    sleeper.kill()
    sleeper.communicate()
    plant.work(Share(0, 1))
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_a_unit_computed_twice_is_published_once(plant: Plant, whole: Path) -> None:
    plan = plant.plan()
    assert plan is not None
    plant.work()
    once = {path.name: path.read_bytes() for path in plan.folder.glob("*.h5")}
    for record in plan.folder.glob("*.json"):
        if record.name != "plan.json":
            record.unlink()
    plant.work()
    assert {path.name: path.read_bytes() for path in plan.folder.glob("*.h5")} == once
    publish(plant.store)
    assert_same_rows(plant.store, whole)


@pytest.mark.parametrize("years", [10, -40])
def test_a_wrong_clock_of_a_worker_has_no_effect(plant: Plant, whole: Path, years: int) -> None:
    """It does not take the unit of a live worker, and the store does not contain its time."""
    plant.plan()
    off = f"import time; right = time.time; time.time = lambda: right() + {years} * 3.2e7"
    slow = plant.caught()
    wrong = plant.worker(before=off)
    with pytest.raises(subprocess.TimeoutExpired):
        wrong.communicate(timeout=4 * LIMIT_S + 1)
    [plan] = plans_of(plant.store)
    assert len(finished(plan)) == len(plan) - 1, "all but the unit that the other holds"
    slow.kill()
    slow.communicate()
    done(wrong)
    publish(plant.store)
    assert_same_rows(plant.store, whole)


@pytest.mark.parametrize(
    ("request_", "options", "words"),
    [
        (replace(MOMENTS, make=partial(MomentsEmbedder, scale=2.0)), INLINE, "planned with fingerprint 'moments-1.0'"),
        (MOMENTS, replace(INLINE, dtype="float16"), "planned with dtype 'float32', this worker has 'float16'"),
        (MOMENTS, replace(INLINE, audio=AudioPolicy(length="crop:1")), "planned with length 'native'"),
        (MOMENTS, replace(INLINE, audio=AudioPolicy(max_seconds=1.0)), r"max_seconds=600\.0.*max_seconds=1\.0"),
        (DOUBLE, INLINE, r"no plan for double \(plans in the store: moments\)"),
    ],
    ids=["fingerprint", "dtype", "length", "longest", "name"],
)
def test_a_worker_that_differs_from_the_plan_is_refused(
    plant: Plant, request_: Request, options: BuildOptions, words: str
) -> None:
    plan = plant.plan()
    assert plan is not None
    with pytest.raises(RequestError, match=words):
        work_share(plant.root, plant.store, [request_], options, Share())
    assert finished(plan) == {}


def test_a_worker_without_the_recordings_is_refused(plant: Plant, tmp_path: Path) -> None:
    plan = plant.plan()
    assert plan is not None
    (tmp_path / "unmounted").mkdir()
    with pytest.raises(DataError, match=r"all 2 recordings of unit 0 are missing, first fan/0000\.wav"):
        work_share(tmp_path / "unmounted", plant.store, [MOMENTS], INLINE, Share())
    assert finished(plan) == {}


def rows_of(store: Path) -> list[tuple[str, bytes]]:
    """Keys and rows."""
    opened = FeatureStore.open(store)
    keys, matrix = opened.clips(MOMENTS.name).keys(), opened.matrix(MOMENTS.name)
    return [(key, row.tobytes()) for key, row in zip(keys, matrix, strict=True)]


def test_a_worker_refuses_another_folder_whose_recordings_have_other_sizes(plant: Plant, tmp_path: Path) -> None:
    plan = plant.plan()
    assert plan is not None
    other = tmp_path / "other"
    shutil.copytree(plant.root, other)
    first = next(path for path in sorted(other.rglob("*.wav")))
    first.write_bytes(first.read_bytes() + b"\0\0")
    with pytest.raises(DataError, match=r"the plan has [\d,]+; use the planned folder as it is mounted"):
        work_share(other, plant.store, [MOMENTS], INLINE, Share())
    assert finished(plan) == {}


def test_rows_carry_the_states_of_the_files_that_were_read(plant: Plant, whole: Path, tmp_path: Path) -> None:
    """Other recordings of equal size are accepted; the next build from the right folder replaces their rows."""
    plant.plan()
    other = tmp_path / "other"
    shutil.copytree(plant.root, other)
    for path in other.rglob("*.wav"):
        data = bytearray(path.read_bytes())
        data[-4:] = b"\x01\x02\x03\x04"
        path.write_bytes(data)
    work_share(other, plant.store, [MOMENTS], INLINE, Share())
    publish(plant.store)
    mended = build(plant.root, plant.clips, plant.store, [MOMENTS], INLINE)
    assert mended.plan.changed[MOMENTS.name] > len(plant.clips) // 2
    actual, expected = (dict(rows_of(store)) for store in (plant.store, whole))
    assert actual == expected


def test_strict_stops_only_its_worker(plant: Plant) -> None:
    plan = plant.plan()
    assert plan is not None
    with pytest.raises(DataError, match=r"fan/0002\.wav: not decodable"):
        work_share(plant.root, plant.store, [MOMENTS], replace(INLINE, strict=True), Share())
    assert set(finished(plan)) == {0}
    assert [item.path for item in plant.work().rejected] == [plant.clips[2].path]


def interrupt(plant: Plant, at: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    """A progress report that calls `act` once `at` clips are done."""
    pending = [act]

    def report(progress: Progress) -> None:
        if progress.done >= at and pending:
            pending.pop()()

    return report


def test_a_plain_build_replaces_the_plan_of_running_workers(plant: Plant, whole: Path) -> None:
    """It publishes their finished units and computes the others; the workers stop without an error."""
    plant.plan()
    act = partial(build, plant.root, plant.clips, plant.store, [MOMENTS], INLINE)
    report = interrupt(plant, 5, act)
    result = work_share(plant.root, plant.store, [MOMENTS], INLINE, Share(claim=True), report=report)
    assert result.gone
    assert result.units == 2
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_a_worker_of_a_replaced_plan_stops_with_an_error(plant: Plant, whole: Path) -> None:
    plant.plan(plant.clips[:8])
    report = interrupt(plant, 3, plant.plan)
    with pytest.raises(RequestError, match="planned again during the run; start this worker again"):
        work_share(plant.root, plant.store, [MOMENTS], INLINE, Share(), report=report)
    assert plant.work().clips == 9, "the finished unit is not computed again"
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_other_writers_do_not_touch_pending_units(plant: Plant, whole: Path) -> None:
    plan = plant.plan()
    assert plan is not None
    plant.work(Share(0, 2))
    with StoreWriter(plant.store) as writer:
        writer.remove_unnamed(keep=1)
    build(plant.root, plant.clips[:2], plant.store, [DOUBLE], INLINE)
    assert len(finished(plan)) == 3
    assert notes(plant.store) == []
    plant.work(Share(1, 2))
    publish(plant.store)
    with StoreWriter(plant.store) as writer:
        writer.drop("double")
    assert_same_rows(plant.store, whole)


def test_workers_need_no_lock(plant: Plant) -> None:
    plant.plan()
    with StoreWriter(plant.store):
        assert plant.work().units == 6


def test_a_worker_computes_its_refused_unit_again(plant: Plant, whole: Path) -> None:
    plan = plant.plan()
    assert plan is not None

    def spoil() -> None:
        image = next(plan.folder.glob("00000000-*.h5"))
        image.write_bytes(image.read_bytes()[:-1])
        [gathered], _ = commit(plant.store)
        assert set(gathered.refused) == {0}

    report = interrupt(plant, 5, spoil)
    result = work_share(plant.root, plant.store, [MOMENTS], INLINE, Share(claim=True), report=report)
    assert result.units == 7
    publish(plant.store)
    assert_same_rows(plant.store, whole)


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"


def test_a_full_disk_stops_one_worker_and_leaves_no_files(plant: Plant, whole: Path) -> None:
    plan = plant.plan()
    assert plan is not None
    full = plant.worker(before=FULL)
    _, stderr = full.communicate(timeout=60)
    assert full.returncode != 0
    assert "ResourceError: no space for" in stderr
    assert finished(plan) == {}
    assert not [path for path in plan.folder.iterdir() if path.suffix in (".tmp", ".h5", ".beat")]
    done(plant.worker())
    publish(plant.store)
    assert_same_rows(plant.store, whole)


def test_a_really_full_disk_and_a_resume_after_freeing_space(plant: Plant, whole: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=18m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        shared = Plant(plant.root, plant.clips, small / "store")
        shared.plan()
        (small / "ballast").write_bytes(b"x" * (os.statvfs(small).f_bavail * os.statvfs(small).f_frsize - (1 << 20)))
        with pytest.raises(ResourceError, match="free some space"):
            shared.work()
        (small / "ballast").unlink()
        shared.work()
        publish(shared.store)
        assert_same_rows(shared.store, whole)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_rank_must_be_below_the_world_size() -> None:
    with pytest.raises(RequestError, match="rank 4 of 4: expected a rank from 0 to 3"):
        Share(4, 4)


def test_a_claiming_worker_waits_for_a_live_one_and_then_ends(plant: Plant, whole: Path) -> None:
    plan = plant.plan()
    assert plan is not None
    with Leases(plan.folder, limit_s=LIMIT_S) as other:
        assert other.claim(4)
        waiting = plant.worker()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.communicate(timeout=3 * LIMIT_S + 1)
        plant.work(Share(4, 6))
        done(waiting)
    publish(plant.store)
    assert_same_rows(plant.store, whole)
