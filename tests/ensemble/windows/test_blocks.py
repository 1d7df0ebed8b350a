"""Blocks of windows: recordings apart from each other, stretches of an only recording, nothing that leaks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from window_store import plant, recording, vectors, window_store, windows

from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from ensemble.windows.blocks import any_windows, reference_blocks, stretches, units_of
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable

KNN = Recipe((Member("e", "knn:k=1"),))
BOTH = Recipe((Member("e", "knn:k=1"), Member("e", "mahalanobis:covariance=ledoit_wolf")))


def blocks(clips: Sequence[Clip], group: str = "", *, identity: Sequence[str] = ()) -> np.ndarray:
    return reference_blocks(group, *arguments(clips, identity)).number


def arguments(clips: Sequence[Clip], identity: Sequence[str] = ()) -> tuple[ClipTable, list[str], np.ndarray]:
    table = ClipTable.from_clips(list(clips))
    return table, list(identity) or table.recordings(), np.array([f"section {clip.section}" for clip in clips])


def parts(number: np.ndarray, clips: Sequence[Clip]) -> set[frozenset[str]]:
    """The blocks as sets of keys."""
    return {frozenset(clips[i].key for i in np.flatnonzero(number == block)) for block in np.unique(number)}


def keys(clips: Sequence[Clip]) -> frozenset[str]:
    return frozenset(clip.key for clip in clips)


A, B = windows(recording("a.wav"), 6, hop_s=5), windows(recording("b.wav"), 4)
WHOLE = [recording(f"{i}.wav", section="01") for i in range(5)]


@pytest.mark.parametrize("group", ["", "recording"])
def test_windows_of_a_recording_are_a_block_and_whole_recordings_are_their_own(group: str) -> None:
    clips = [*A, *WHOLE, *B]
    assert parts(blocks(clips, group), clips) == {keys(A), keys(B), *(keys([clip]) for clip in WHOLE)}
    assert any_windows(ClipTable.from_clips(clips))
    assert not any_windows(ClipTable.from_clips(WHOLE))
    assert not any_windows(ClipTable.from_clips([recording("odd#t=name.wav")]))
    assert not any_windows(ClipTable.from_clips([]))


def test_recordings_of_equal_content_are_one_block() -> None:
    clips = [*A, *B, *windows(recording("c.wav"), 3)]
    identity = [{"a.wav": "same", "c.wav": "same"}.get(clip.recording, "other") for clip in clips]
    assert parts(blocks(clips, identity=identity), clips) == {keys([*A, *clips[-3:]]), keys(B)}
    changed = ["new", *identity[1:]]  # the file has changed, and some windows are of before
    assert parts(blocks(clips, identity=changed), clips) == {keys([*A, *clips[-3:]]), keys(B)}


def test_copies_in_a_section_without_windows_stay_single() -> None:
    clips = [*A, *B, *WHOLE]
    identity = [clip.recording for clip in (*A, *B)] + ["same"] * 3 + ["x", "y"]
    assert parts(blocks(clips, identity=identity), clips) == {keys(A), keys(B), *(keys([clip]) for clip in WHOLE)}


def test_days_hold_whole_recordings() -> None:
    midnight = [replace(clip, attributes={"day": f"{int(i > 2)}"}) for i, clip in enumerate(A)]
    later = [replace(clip, attributes={"day": "2"}) for clip in [*B, *windows(recording("c.wav"), 2)]]
    clips = [*midnight, *later]
    assert parts(blocks(clips, "day"), clips) == {keys(midnight), keys(later)}


def test_a_section_of_one_day_leaves_out_recordings_and_says_so() -> None:
    days = [replace(clip, attributes={"day": "1"}) for clip in [*A, *B]]
    others = [Clip(f"{i}.wav", "fan", "02", "train", attributes={"day": f"{i}"}) for i in range(8)]
    clips = [*days, *others]
    number, notes = reference_blocks("day", *arguments(clips))
    assert {keys(days[:6]), keys(days[6:])} < parts(number, clips)
    assert "section 00 has only one day, so single recordings are left out there" in notes[0]


@pytest.mark.parametrize("group", ["", "recording"])
@pytest.mark.parametrize(
    ("count", "sizes"), [(2, [1, 1]), (5, [2, 3]), (9, [3, 3, 3]), (30, [3] * 10), (64, [6, 6, 6, 7, 7] * 2)]
)
def test_an_only_recording_is_cut_into_consecutive_stretches(group: str, count: int, sizes: list[int]) -> None:
    clips = windows(recording("a.wav"), count)
    number, notes = reference_blocks(group, *arguments(clips))
    assert np.all(np.diff(number) >= 0), "consecutive"
    assert sorted(np.unique(number, return_counts=True)[1].tolist()) == sorted(sizes)
    assert len(notes) == 1
    assert notes[0].startswith("the training windows of section 00 are of one recording, so it is cut into up to 10")
    assert notes[0].endswith("may not hold, because the reference is of the same recording")


def test_stretches_keep_copies_together_and_windows_of_one_start_are_not_divided() -> None:
    np.testing.assert_array_equal(stretches(np.array([50.0, 0, 50, 0, 10])), [1, 0, 1, 0, 0])
    np.testing.assert_array_equal(stretches(np.array([np.nan, 0, 5])), [0, 0, 1])
    same = [recording("a.wav#t=0,5"), recording("a.wav#t=0,10")]
    assert len(set(blocks(same).tolist())) == 2, "the last resort"


def test_a_day_of_one_recording_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="are of one day"):
        blocks([replace(clip, attributes={"day": "1"}) for clip in A], "day")


def test_a_start_in_seconds_is_no_day() -> None:
    clips = [recording("a.wav#t=20240131,20240201"), recording("b.wav#t=20240131,20240201")]
    with pytest.raises(DataError, match="no training clip has a day"):
        blocks(clips, "day")


@pytest.mark.parametrize("clips", [[*A, *WHOLE, *B], [*A, *WHOLE], A])
@pytest.mark.parametrize("group", ["", "recording"])
def test_blocks_do_not_depend_on_the_order_of_rows(clips: list[Clip], group: str) -> None:
    order = np.random.default_rng(1).permutation(len(clips))
    shuffled = [clips[i] for i in order]
    np.testing.assert_array_equal(blocks(clips, group)[order], blocks(shuffled, group))
    table, identity, section = arguments(clips)
    units = units_of(table, identity, section)
    assert [units.names[i] for i in order] == units_of(*arguments(shuffled)).names


def references(store: FeatureStore, recipe: Recipe = KNN) -> dict[str, float]:
    detection = detect(store, recipe)
    return dict(zip(detection.train.keys(), detection.reference.tolist(), strict=True))


@pytest.mark.parametrize("hashed", [True, False])
def test_a_window_is_no_reference_of_its_recording(tmp_path: Path, hashed: bool) -> None:
    """A copy-like neighbour of the same recording changes nothing; the same copy in another recording does."""
    clips = plant()
    X = vectors(clips)
    twin = windows(recording(clips[0].recording), 13)[-1:]
    plain = references(window_store(tmp_path / "plain", clips, X, hashed=hashed))
    with_twin = references(window_store(tmp_path / "twin", [*clips, *twin], np.vstack([X, X[:1]]), hashed=hashed))
    assert with_twin[clips[0].key] == plain[clips[0].key] > 0.001
    assert with_twin[twin[0].key] == pytest.approx(plain[clips[0].key], abs=1e-12)
    stranger = [replace(twin[0], path="fan/train/9.wav#t=0,10")]
    leaking = references(window_store(tmp_path / "other", [*clips, *stranger], np.vstack([X, X[:1]]), hashed=hashed))
    assert leaking[clips[0].key] < 1e-9


def test_references_are_the_distances_to_other_recordings(tmp_path: Path) -> None:
    clips = plant()
    X = vectors(clips).astype(float)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    train = [i for i, clip in enumerate(clips) if clip.split == "train"]
    other = np.array([[clips[i].recording != clips[j].recording for j in train] for i in train])
    expected = np.where(other, 1 - unit[train] @ unit[train].T, np.inf).min(axis=1)
    reference = references(window_store(tmp_path / "s", clips))
    np.testing.assert_allclose([reference[clips[i].key] for i in train], expected, atol=1e-6)


def test_the_stated_rate_holds_on_new_recordings_only_with_whole_recordings_left_out(tmp_path: Path) -> None:
    clips = [replace(clip, label="normal") for clip in plant(train=12, test=20)]
    detection = detect(window_store(tmp_path / "s", clips), KNN)
    hidden = [replace(clip, path=clip.path.replace("#t=", "/").replace(",", "-")) for clip in clips]
    single = detect(window_store(tmp_path / "single", hidden, vectors(clips)), KNN)
    assert not any_windows(single.train)
    assert detection.decision.mean() < 0.3 < single.decision.mean()


@pytest.mark.parametrize("hashed", [True, False])
def test_a_recording_over_midnight_is_of_both_days(tmp_path: Path, hashed: bool) -> None:
    clips = [replace(clip, attributes={"day": clip.recording[-5]}) for clip in plant(train=5)]
    clips[0] = replace(clips[0], attributes={"day": "midnight"})
    detection = detect(window_store(tmp_path / "s", clips, hashed=hashed), replace(KNN, group="day"))
    assert np.unique(detection.blocks, return_counts=True)[1].tolist() == [12] * 5


def test_ranked_windows_are_compared_with_other_recordings(tmp_path: Path) -> None:
    clips = plant(test=0)
    detection = detect(window_store(tmp_path / "s", clips), BOTH)
    assert detection.self_ranked
    for clip, nearest in zip(detection.clips, detection.nearest, strict=True):
        assert clip.recording != nearest.partition("#")[0]


def by_key(detection: Detection) -> dict[str, tuple[float, bool]]:
    return dict(zip(detection.clips.keys(), zip(detection.score, detection.decision, strict=True), strict=True))


def test_whole_recordings_beside_windows_are_decided_as_without_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    whole = [recording(f"pump/train/{i}.wav", machine="pump") for i in range(20)]
    whole += [recording(f"pump/test/{i}.wav", machine="pump") for i in range(8)]
    Y, clips = rng.normal(4, 1, (28, 6)).astype(np.float32), plant()
    alone = by_key(detect(window_store(tmp_path / "alone", whole, Y), BOTH))
    mixed = by_key(detect(window_store(tmp_path / "mixed", [*clips, *whole], np.vstack([vectors(clips), Y])), BOTH))
    assert {key: mixed[key] for key in alone} == alone


def test_a_store_of_one_recording_is_decided_with_a_note(tmp_path: Path) -> None:
    clips = plant(train=1, count=40, hop_s=5)
    detection = detect(window_store(tmp_path / "s", clips), BOTH)
    assert any(note.startswith("the training windows of machine fan section 00 are of one") for note in detection.notes)
    assert len(set(detection.blocks.tolist())) == 10
    few = detect(window_store(tmp_path / "few", plant(train=2)), BOTH)
    assert any(note.startswith("windows: machine fan section 00 has at most 3 recordings") for note in few.notes)


def test_days_of_windows_give_the_note_on_days(tmp_path: Path) -> None:
    """Its usual threshold is that of other recordings."""
    clips = plant(train=12)
    dated = [replace(clip, path=f"2024-05-0{1 + int(clip.recording[-5]) // 4}/{clip.path}") for clip in clips]
    notes = detect(window_store(tmp_path / "s", dated, vectors(clips)), KNN).notes
    (note,) = [note for note in notes if "--group day leaves out whole days" in note]
    exceeding = re.search(r"exceeded by (\d+) %", note)
    assert exceeding is not None
    assert 5 < int(exceeding[1]) < 50
