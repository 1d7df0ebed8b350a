"""A build whose embedder fails on every clip ends once and rejects nothing; broken recordings do not cause this."""

from dataclasses import replace
from pathlib import Path

import failing_embedders as failing
import numpy as np
import pytest
import soundfile as sf
from fakes import RATE, MomentsEmbedder, make_clips, write_clip

from featstore.build import BuildOptions, BuildReport, Request, build
from featstore.building.failing import ENOUGH, Failing
from featstore.building.plan import PlanOptions
from featstore.building.work import Result
from featstore.clip import Clip
from featstore.disk.shard import EmbeddingInfo
from featstore.distributed.shares import Share, plan_shares, work_share
from featstore.errors import DataError
from featstore.store import FeatureStore

OPTIONS = BuildOptions(workers=0, plan=PlanOptions(unit_clips=4))
MOMENTS, INFINITE = Request("moments", MomentsEmbedder), Request("moments", failing.Infinite)
NONE = r"^moments: none of the first \d+ clips that could be read was embedded: embedder moments returned NaN"


def run(folder: Path, clips: list[Clip], *requests: Request, options: BuildOptions = OPTIONS) -> BuildReport:
    return build(folder, clips, folder / "store", requests, options)


def rejected(folder: Path) -> list[str]:
    store = FeatureStore.open(folder / "store")
    return [item.path for item in store.rejected("moments")] if "moments" in store.embeddings else []


@pytest.mark.parametrize("n", [3, ENOUGH + 20])
def test_an_embedder_that_returns_nan_for_every_clip_ends_the_build(tmp_path: Path, n: int) -> None:
    clips = make_clips(tmp_path, n)
    with pytest.raises(DataError, match=NONE):
        run(tmp_path, clips, INFINITE)
    assert rejected(tmp_path) == []
    report = run(tmp_path, clips, MOMENTS)
    assert (report.rows, report.standing, report.rejected) == ({"moments": n}, 0, ())


def test_it_ends_early(tmp_path: Path) -> None:
    seen: list[int] = []
    clips = make_clips(tmp_path, 3 * ENOUGH)
    with pytest.raises(DataError, match=r"none of the first 32 clips"):
        build(tmp_path, clips, tmp_path / "store", [INFINITE], OPTIONS, report=lambda p: seen.append(p.done))
    assert max(seen) < ENOUGH


def test_workers_that_crash_at_every_clip_end_the_build(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 2)
    with pytest.raises(DataError, match=r"none of the first 2 clips .* the worker process crashed"):
        run(tmp_path, clips, Request("moments", failing.Deadly), options=replace(OPTIONS, workers=1))
    assert rejected(tmp_path) == []


def test_broken_recordings_are_not_taken_for_a_broken_embedder(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, ENOUGH + 12)
    for clip in clips:
        (tmp_path / clip.path).write_bytes(b"no sound")
    assert len(run(tmp_path, clips, MOMENTS).rejected) == len(clips)
    assert len(rejected(tmp_path)) == len(clips)


def test_silent_recordings_that_cannot_be_embedded_are_not_taken_for_it(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, ENOUGH + 4)
    for clip in clips:
        sf.write(tmp_path / clip.path, np.zeros(400), RATE)
    assert len(run(tmp_path, clips, INFINITE).rejected) == len(clips)


def test_failures_before_the_first_success_are_recorded_after_it(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 12)
    for seed, clip in enumerate(clips[:6]):  # the whole first unit, and half of the second
        write_clip(tmp_path, clip.path, seed, first=-0.75)
    request = replace(MOMENTS, make=lambda: MomentsEmbedder(endless=-0.75))
    report = run(tmp_path, clips, request)
    assert [item.path for item in report.rejected] == rejected(tmp_path) == [clip.path for clip in clips[:6]]
    assert list(FeatureStore.open(tmp_path / "store").clips("moments")) == clips[6:]


def test_a_few_new_recordings_that_fail_are_rejected_where_others_were_embedded_before(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 6)
    run(tmp_path, clips[:3], MOMENTS)
    report = run(tmp_path, clips, INFINITE)
    assert [item.path for item in report.rejected] == [clip.path for clip in clips[3:]]


def test_many_new_recordings_that_all_fail_end_the_build_there_too(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 3 + ENOUGH)
    run(tmp_path, clips[:3], MOMENTS)
    with pytest.raises(DataError, match=NONE):
        run(tmp_path, clips, INFINITE)
    assert rejected(tmp_path) == []


def test_one_failing_embedder_of_two_ends_the_build(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 5)
    with pytest.raises(DataError, match=r"^broken: none of the first 5 clips"):
        run(tmp_path, clips, MOMENTS, Request("broken", failing.Infinite))


@pytest.mark.parametrize("share", [Share(), Share(claim=True)], ids=["ranked", "claimed"])
@pytest.mark.parametrize("n", [3, 7, ENOUGH + 20])
def test_a_worker_of_a_plan_whose_embedder_fails_finishes_no_unit(tmp_path: Path, share: Share, n: int) -> None:
    clips = make_clips(tmp_path, n)
    plan = plan_shares(tmp_path, clips, tmp_path / "store", [MOMENTS], OPTIONS, asked={})
    assert plan is not None
    with pytest.raises(DataError, match=NONE):
        work_share(tmp_path, tmp_path / "store", [INFINITE], OPTIONS, share)
    assert not list(plan.folder.glob("*.json")) or {path.name for path in plan.folder.glob("*.json")} == {"plan.json"}
    assert work_share(tmp_path, tmp_path / "store", [MOMENTS], OPTIONS, share).clips == n


def test_a_success_ends_the_suspicion() -> None:
    info = EmbeddingInfo("moments", (3,), "float32", "f", {})
    failures, watch = [Result(reason="NaN", by_embedder=True)] * 20, Failing([info])
    watch.count(0, failures)
    assert watch.suspects() == [0]
    watch.count(0, [*failures[:3], Result(vector=np.zeros(3))])
    assert watch.suspects() == []
    watch.count(0, failures * 3)
    watch.end()
