"""Interruptions, growth, workers and batches do not change the rows of a build."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from fakes import RATE, MomentsEmbedder, make_clips, write_clip

from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip
from featstore.build import BuildOptions, BuildReport, Progress, Request, build
from featstore.building import plan, work
from featstore.building.plan import FileState, PlanOptions
from featstore.clip import Clip
from featstore.errors import DataError, ResourceError, StoreError
from featstore.layouts.windows import windows_of
from featstore.store import FeatureStore

MOMENTS = Request("moments", MomentsEmbedder)
INLINE = BuildOptions(workers=0, plan=PlanOptions(unit_clips=4))


def run(root: Path, clips: list[Clip], store: Path, options: BuildOptions = INLINE, **request: object) -> BuildReport:
    return build(root, clips, store, [replace(MOMENTS, **request)], options)  # type: ignore[arg-type]


def rows(store: Path, name: str = "moments") -> dict[str, np.ndarray]:
    opened = FeatureStore.open(store)
    return dict(zip(opened.clips(name).keys(), opened.matrix(name), strict=True))


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    np.testing.assert_array_equal(np.array(list(a.values())), np.array(list(b.values())))


def test_rows_are_the_vectors_of_the_embedder_with_facts_of_the_files(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 6)
    report = run(tmp_path, clips, tmp_path / "store")
    assert report.rows == {"moments": 6}
    for clip, vector in zip(clips, rows(tmp_path / "store").values(), strict=True):
        wave, _ = sf.read(tmp_path / clip.path, dtype="float32")
        np.testing.assert_allclose(vector, MomentsEmbedder().embed(wave[None])[0], rtol=1e-6)
    store = FeatureStore.open(tmp_path / "store")
    assert list(store.clips("moments")) == clips
    facts = store.facts("moments")
    assert facts["n_samples"].tolist() == [400, 400, 700] * 2
    assert facts["size_bytes"].tolist() == [(tmp_path / clip.path).stat().st_size for clip in clips]
    assert report.audio_s == pytest.approx(3000 / RATE)


@pytest.mark.parametrize(
    "options",
    [
        replace(INLINE, batch=1),
        replace(INLINE, batch=64),
        replace(INLINE, plan=PlanOptions(unit_clips=1000)),
        replace(INLINE, workers=2),
        replace(INLINE, workers=2, embed_in_workers=False),
    ],
    ids=["batch 1", "batch 64", "one unit", "two workers", "workers only decode"],
)
def test_batches_units_and_workers_change_nothing(tmp_path: Path, options: BuildOptions) -> None:
    clips = make_clips(tmp_path, 11)
    run(tmp_path, clips, tmp_path / "plain")
    run(tmp_path, clips, tmp_path / "other", options)
    assert_same(rows(tmp_path / "plain"), rows(tmp_path / "other"))


def test_an_interrupted_build_resumes(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 11)
    run(tmp_path, clips, tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, clips, tmp_path / "store", [MOMENTS], INLINE, report=stop)
    before = rows(tmp_path / "store")
    assert 0 < len(before) < 11
    report = run(tmp_path, clips, tmp_path / "store")
    assert report.plan.kept["moments"] == len(before)
    assert_same(rows(tmp_path / "store"), rows(tmp_path / "whole"))


def test_a_grown_folder_adds_shards_for_new_clips_only(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 9)
    run(tmp_path, clips[:5], tmp_path / "store")
    old = {path: path.read_bytes() for path in (tmp_path / "store" / "shards").iterdir()}
    report = run(tmp_path, clips, tmp_path / "store")
    assert (report.plan.new["moments"], report.plan.kept["moments"]) == (4, 5)
    assert all(path.read_bytes() == content for path, content in old.items()), "published bytes never change"
    assert set(rows(tmp_path / "store")) == {clip.key for clip in clips}


def test_changed_recordings_are_embedded_again_and_touched_ones_are_not(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 4)
    run(tmp_path, clips, tmp_path / "store")
    write_clip(tmp_path, clips[0].path, seed=99, samples=555)
    os.utime(tmp_path / clips[1].path, ns=(1, 1))
    stat = (tmp_path / clips[2].path).stat()
    write_clip(tmp_path, clips[2].path, seed=77, samples=700)  # same size and time, so only the content differs
    os.utime(tmp_path / clips[2].path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    report = run(tmp_path, clips, tmp_path / "store")
    assert (report.plan.changed["moments"], report.plan.kept["moments"]) == (1, 3)
    assert rows(tmp_path / "store")[clips[0].key][2] == pytest.approx(0.555)
    rehash = replace(INLINE, plan=PlanOptions(rehash=True))
    report = run(tmp_path, clips, tmp_path / "store", rehash)
    assert report.plan.changed["moments"] == 1
    assert len(rows(tmp_path / "store")) == 4
    run(tmp_path, clips, tmp_path / "fresh")
    assert {key: row.tolist() for key, row in rows(tmp_path / "store").items()} == {
        key: row.tolist() for key, row in rows(tmp_path / "fresh").items()
    }


def test_a_new_recording_of_the_same_size_is_detected_by_its_time(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 3)
    run(tmp_path, clips, tmp_path / "store")
    before = rows(tmp_path / "store")[clips[0].key]
    write_clip(tmp_path, clips[0].path, seed=50, samples=400)
    os.utime(tmp_path / clips[0].path, ns=(1, 1))
    assert run(tmp_path, clips, tmp_path / "store").plan.changed["moments"] == 1
    assert not np.array_equal(rows(tmp_path / "store")[clips[0].key], before)


def test_a_vector_that_is_not_finite_rejects_only_its_clip(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 5)
    write_clip(tmp_path, clips[1].path, seed=1, first=-0.75)
    report = run(tmp_path, clips, tmp_path / "store", make=partial(MomentsEmbedder, endless=-0.75))
    assert [(item.path, item.reason) for item in report.rejected] == [
        (clips[1].path, "embedder moments returned NaN or infinite values")
    ]
    assert len(rows(tmp_path / "store")) == 4


def test_rejected_recordings_are_stored_with_their_reason_and_do_not_stop_the_build(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 5)
    (tmp_path / clips[1].path).write_bytes(b"not a sound")
    (tmp_path / clips[3].path).unlink()
    report = run(tmp_path, clips, tmp_path / "store")
    assert {item.path for item in report.rejected} == {clips[1].path, clips[3].path}
    reasons = {item.path: item.reason for item in FeatureStore.open(tmp_path / "store").rejected("moments")}
    assert "not decodable" in reasons[clips[1].path]
    assert "No such file" in reasons[clips[3].path]
    assert len(rows(tmp_path / "store")) == 3

    again = run(tmp_path, clips, tmp_path / "store")
    assert again.plan.clips == 1, "a known rejection is not read again, but a file that could not be read is"
    assert (again.standing, again.plan.kept["moments"]) == (1, 3)
    write_clip(tmp_path, clips[3].path, seed=3)
    report = run(tmp_path, clips, tmp_path / "store")
    assert (report.plan.clips, report.rejected, report.rows["moments"]) == (1, (), 4)
    retry = replace(INLINE, plan=PlanOptions(retry_rejected=True))
    assert len(run(tmp_path, clips, tmp_path / "store", retry).rejected) == 1


def test_strict_stops_at_the_first_rejection_and_keeps_what_was_committed(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 12)
    (tmp_path / clips[9].path).write_bytes(b"")
    with pytest.raises(DataError, match=r"fan/0009\.wav: the file is empty"):
        run(tmp_path, clips, tmp_path / "store", replace(INLINE, strict=True))
    assert len(rows(tmp_path / "store")) == 8


def test_a_clip_that_crashes_its_worker_is_rejected_and_the_others_are_embedded(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 6)
    write_clip(tmp_path, clips[2].path, seed=2, first=-0.75)
    deadly = partial(MomentsEmbedder, deadly=-0.75)
    report = run(tmp_path, clips, tmp_path / "store", replace(INLINE, workers=1), make=deadly)
    assert [(item.path, item.reason) for item in report.rejected] == [
        (clips[2].path, "the worker process crashed while reading or embedding it")
    ]
    assert len(rows(tmp_path / "store")) == 5


def test_new_labels_reach_the_store_without_embedding_again(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 4)
    unlabelled = [replace(clip, label="unknown") for clip in clips]
    run(tmp_path, unlabelled, tmp_path / "store")
    before = rows(tmp_path / "store")
    report = run(tmp_path, clips, tmp_path / "store")
    assert report.plan.clips == 0
    assert FeatureStore.open(tmp_path / "store").clips("moments").column("label").tolist() == ["normal"] * 4
    assert {key: row.tolist() for key, row in rows(tmp_path / "store").items()} == {
        key: row.tolist() for key, row in before.items()
    }


def test_new_labels_of_more_rows_than_one_shard_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = make_clips(tmp_path, 5)
    run(tmp_path, [replace(clip, label="unknown") for clip in clips], tmp_path / "store")
    before = FeatureStore.open(tmp_path / "store").manifest.number
    monkeypatch.setattr("featstore.disk.parts.MAX_ROWS", 2)
    run(tmp_path, clips, tmp_path / "store")
    store = FeatureStore.open(tmp_path / "store")
    assert store.clips("moments").column("label").tolist() == ["normal"] * 5
    assert store.manifest.number == before + 1, "all in one commit"
    assert [entry.live_rows for entry in store.entries("moments")][-3:] == [2, 2, 1]


def test_two_embedders_share_a_build_and_each_gets_its_missing_rows(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 7)
    double = Request("double", partial(MomentsEmbedder, scale=2.0))
    run(tmp_path, clips[:3], tmp_path / "store")
    report = build(tmp_path, clips, tmp_path / "store", [MOMENTS, double], INLINE)
    assert (report.plan.new["moments"], report.plan.new["double"]) == (4, 7)
    moments, doubled = rows(tmp_path / "store"), rows(tmp_path / "store", "double")
    assert set(moments) == set(doubled)
    for key, vector in moments.items():
        np.testing.assert_allclose(doubled[key], 2 * vector, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"make": partial(MomentsEmbedder, scale=2.0)}, "scale"),
        ({"options": replace(INLINE, audio=AudioPolicy(channel="mean"))}, "channel"),
        ({"options": replace(INLINE, audio=AudioPolicy(length="crop:1"))}, "length"),
        ({"options": replace(INLINE, dtype="float16")}, "dtype"),
    ],
)
def test_two_embedders_or_policies_never_share_a_name(tmp_path: Path, change: dict[str, object], field: str) -> None:
    clips = make_clips(tmp_path, 2)
    run(tmp_path, clips, tmp_path / "store")
    with pytest.raises(StoreError, match=f"with {field} .*--as NAME"):
        run(tmp_path, clips, tmp_path / "store", **change)  # type: ignore[arg-type]


def test_rows_of_removed_recordings_stay_until_pruned(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 4)
    run(tmp_path, clips, tmp_path / "store")
    report = run(tmp_path, clips[1:], tmp_path / "store")
    assert report.plan.gone["moments"] == (clips[0].key,)
    assert len(rows(tmp_path / "store")) == 4
    run(tmp_path, clips[1:], tmp_path / "store", replace(INLINE, prune=True))
    assert set(rows(tmp_path / "store")) == {clip.key for clip in clips[1:]}


def test_a_clip_listed_twice_is_an_error(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 2)
    with pytest.raises(DataError, match=r"fan/0001\.wav: listed 2 times"):
        run(tmp_path, [*clips, clips[1]], tmp_path / "store")


def test_a_disk_that_is_too_small_is_reported_with_the_bytes_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = make_clips(tmp_path, 4)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    with pytest.raises(ResourceError, match=r"needs about [\d,]+ bytes and 10,000,000 are free"):
        run(tmp_path, clips, tmp_path / "store")
    monkeypatch.undo()
    assert run(tmp_path, clips, tmp_path / "store").rows == {"moments": 4}


def test_short_and_silent_recordings_are_embedded_with_their_outcome(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 3, lengths=(400, 5, 400))
    sf.write(tmp_path / clips[2].path, np.zeros(400), RATE)
    run(tmp_path, clips, tmp_path / "store")
    assert FeatureStore.open(tmp_path / "store").facts("moments")["outcome"].tolist() == [b"", b"padded", b"silent"]
    assert rows(tmp_path / "store")[clips[1].key][2] == pytest.approx(0.016), "padded to min_samples"


def windows(root: Path, seconds: float = 1.0) -> list[Clip]:
    """Windows of 0.1 s every 0.1 s of one recording."""
    write_clip(root, "fan/long.wav", 3, samples=round(seconds * RATE))
    whole = Clip("fan/long.wav", "fan", "00", "train", "source", "normal")
    return windows_of(root, [whole], AudioPolicy(length="window:0.1,0.1"))


def test_an_interrupted_build_embeds_no_window_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, read = windows(tmp_path), []
    monkeypatch.setattr(
        work, "read_clip", lambda root, path, *args, **more: read.append(path) or read_clip(root, path, *args, **more)
    )

    def stop(progress: Progress) -> None:
        if progress.done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, clips, tmp_path / "store", [MOMENTS], INLINE, report=stop)
    committed = list(rows(tmp_path / "store"))
    first = len(read)
    assert run(tmp_path, clips, tmp_path / "store").plan.kept["moments"] == len(committed)
    assert not set(committed) & set(read[first:])
    assert list(rows(tmp_path / "store")) == [clip.path for clip in clips]
    assert read[first:] == [clip.path for clip in clips[len(committed) :]], "in the order of the recording"


def test_windows_and_workers_change_nothing(tmp_path: Path) -> None:
    clips = windows(tmp_path)
    run(tmp_path, clips, tmp_path / "plain")
    run(tmp_path, clips[::-1], tmp_path / "turned", replace(INLINE, workers=2, plan=PlanOptions(unit_clips=3)))
    plain, turned = rows(tmp_path / "plain"), rows(tmp_path / "turned")
    assert {key: row.tolist() for key, row in plain.items()} == {key: row.tolist() for key, row in turned.items()}


def test_a_recording_is_looked_at_once_for_all_its_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = windows(tmp_path)
    run(tmp_path, clips, tmp_path / "store")
    looked, hashed = [], []
    stat, content_hash = FileState.of, plan.content_hash
    monkeypatch.setattr(FileState, "of", lambda path: looked.append(path.name) or stat(path))
    monkeypatch.setattr(plan, "content_hash", lambda path: hashed.append(path.name) or content_hash(path))
    os.utime(tmp_path / "fan/long.wav", ns=(1, 1))
    assert run(tmp_path, clips, tmp_path / "store").plan.kept["moments"] == len(clips)
    assert (looked, hashed) == (["long.wav"], ["long.wav"])
