"""Which clips a mark holds for, and what follows from it: banks, scores, metrics, choices."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.inputs import Inputs
from ensemble.marks.apply import MarkedStore, marked_rows, marks_digest, with_all_marks, with_marks, with_roles
from ensemble.marks.file import Mark, Marks, append_mark, read_marks
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

PLAIN = Recipe((Member("e", "knn:k=1"),))
ODD = os.fsdecode(b"fan/test/\xff\n.wav")


def clip(path: str, split: str = "train", label: str = "normal", variant: str = "") -> Clip:
    return Clip(path, "fan", "00", split, "source", label, variant=variant)  # type: ignore[arg-type]


def table(*paths: str) -> ClipTable:
    return ClipTable.from_clips([clip(path) for path in paths])


def held(clips: ClipTable, *marks: Mark) -> dict[str, str]:
    keys = clips.keys()
    return {keys[row]: mark.mark for row, mark in marked_rows(marks, clips).items()}


WINDOWS = ("a.wav#t=0,10", "a.wav#t=5,15", "a.wav#t=10,20", "b.wav#t=0,10", "c.wav")


@pytest.mark.parametrize(
    ("mark", "keys"),
    [
        (Mark(clip="a.wav", mark="fault"), {"a.wav#t=0,10", "a.wav#t=5,15", "a.wav#t=10,20"}),
        (Mark(clip="c.wav", mark="normal"), {"c.wav"}),
        (Mark(clip="a.wav", mark="normal", start_s=0, end_s=10), {"a.wav#t=0,10", "a.wav#t=5,15"}),
        (Mark(clip="a.wav", mark="normal", start_s=0, end_s=9.9), {"a.wav#t=0,10"}),
        (Mark(clip="a.wav", mark="fault", start_s=11, end_s=12), set()),
        (Mark(clip="a.wav", mark="fault", start_s=30, end_s=40), set()),
        (Mark(clip="a.wav#t=5,15", mark="fault", start_s=5, end_s=15), {"a.wav#t=5,15"}),
        (Mark(clip="a.wav#t=2,14", mark="fault", start_s=2, end_s=14), {"a.wav#t=0,10", "a.wav#t=5,15"}),
        (Mark(clip="c.wav", mark="fault", start_s=1, end_s=2), {"c.wav"}),
        (Mark(clip="c.wav", mark="normal", start_s=1, end_s=2), set()),
        (Mark(clip="c.wav", mark="ignore", start_s=1, end_s=2), set()),
        (Mark(clip="nowhere.wav", mark="fault"), set()),
    ],
)
def test_a_mark_holds_for_a_clip_or_for_windows(mark: Mark, keys: set[str]) -> None:
    assert held(table(*WINDOWS), mark) == dict.fromkeys(keys, mark.mark)


def test_the_last_mark_of_a_clip_counts_and_none_takes_it_back() -> None:
    clips = table(*WINDOWS)
    marks = [
        Mark(clip="a.wav", mark="fault"),
        Mark(clip="a.wav#t=0,10", mark="normal"),
        Mark(clip="a.wav", mark="none", start_s=10, end_s=20),
        Mark(clip="c.wav", mark="fault", start_s=1, end_s=2),
    ]
    assert held(clips, *marks) == {"a.wav#t=0,10": "normal", "c.wav": "fault"}
    assert held(clips, *marks, Mark(clip="a.wav", mark="none"), Mark(clip="c.wav", mark="none")) == {}


def test_generated_variants_are_not_marked() -> None:
    clips = ClipTable.from_clips([clip("a.wav"), clip("a.wav", label="anomaly", variant="leak@0dB#1")])
    assert marked_rows([Mark(clip="a.wav", mark="normal")], clips).keys() == {0}


def test_roles_follow_from_marks() -> None:
    splits = ("train", "test", "supplemental")
    clips = ClipTable.from_clips([clip(f"{mark}-{split}", split) for mark in ("n", "f", "i") for split in splits])
    names = {"n": "normal", "f": "fault", "i": "ignore"}
    rows = {i: Mark(clip=key, mark=names[key[0]]) for i, key in enumerate(clips.keys())}
    after = with_roles(clips, rows)
    assert list(zip(after.column("split"), after.column("label"), strict=True)) == [
        *[("train", "normal")] * 3,
        ("train", "anomaly"),
        ("test", "unknown"),
        ("supplemental", "unknown"),
        *[("supplemental", "normal")] * 3,
    ]
    assert after.keys() == clips.keys()
    assert clips.column("split").tolist() == [*splits] * 3, "the table itself is unchanged"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """30 training and 12 test clips, every third of the latter a fault; one name is neither UTF-8 nor one line."""
    clips = [clip(f"fan/train/{i}.wav") for i in range(30)]
    tests = [clip(f"fan/test/{i}.wav", "test", ("normal", "normal", "anomaly")[i % 3]) for i in range(12)]
    clips += [*tests, clip(ODD, "test")]
    X = np.random.default_rng(0).normal(size=(len(clips), 4)).astype(np.float32)
    import_matrix(tmp_path / "store", "e", X, ClipTable.from_clips(clips))
    return FeatureStore.open(tmp_path / "store")


def marked(store: FeatureStore, **marks: str) -> Recipe:
    """The recipe with marks of the clips `split_number`."""
    for name, mark in marks.items():
        append_mark(store.path, Mark(clip=f"fan/{name.replace('_', '/')}.wav", mark=mark))
    return replace(PLAIN, marks=read_marks(store.path).head)


def run(store: FeatureStore, recipe: Recipe) -> Detection:
    return detect(FeatureStore.open(store.path), recipe)


def test_a_normal_test_clip_joins_the_bank_and_is_not_scored(store: FeatureStore) -> None:
    before = run(store, PLAIN)
    after = run(store, marked(store, test_0="normal"))
    assert set(before.clips.keys()) - set(after.clips.keys()) == {"fan/test/0.wav"}
    assert set(after.train.keys()) - set(before.train.keys()) == {"fan/test/0.wav"}
    assert any("1 normal (used as normal sound, not scored)" in note for note in after.notes)
    assert not any("marked clips" in note for note in before.notes)


def test_a_fault_is_in_no_bank_and_no_metric(store: FeatureStore) -> None:
    after = run(store, marked(store, test_2="fault", train_3="fault"))
    assert "fan/train/3.wav" not in {*after.train.keys(), *after.clips.keys()}
    rows = dict(zip(after.clips.keys(), after.clips.column("label"), strict=True))
    assert rows["fan/test/2.wav"] == "unknown"
    assert rows["fan/test/5.wav"] == "anomaly"


def test_an_ignored_clip_is_nowhere(store: FeatureStore) -> None:
    after = run(store, marked(store, test_2="ignore", train_3="ignore"))
    assert {"fan/train/3.wav", "fan/test/2.wav"}.isdisjoint({*after.train.keys(), *after.clips.keys()})
    assert len(after.clips) + len(after.train) == 41


def test_a_run_by_its_recipe_uses_the_marks_of_then(store: FeatureStore) -> None:
    recipe = marked(store, test_0="normal")
    first = run(store, recipe)
    later = marked(store, test_1="normal", test_0="none")
    again = run(store, recipe)
    assert again.clips.keys() == first.clips.keys()
    np.testing.assert_array_equal(again.score, first.score)
    now = set(run(store, later).clips.keys())
    assert now.intersection({"fan/test/0.wav", "fan/test/1.wav"}) == {"fan/test/0.wav"}
    with pytest.raises(DataError, match=r"marks up to 555555555555, which marks\.jsonl does not have"):
        run(store, replace(recipe, marks="5" * 64))


def test_names_of_any_bytes_can_be_marked(store: FeatureStore) -> None:
    append_mark(store.path, Mark(clip=ODD, mark="normal"))
    after = run(store, replace(PLAIN, marks=read_marks(store.path).head))
    assert set(after.train.keys()) >= {ODD}


def test_a_store_without_marks_is_itself(store: FeatureStore) -> None:
    notes: list[str] = []
    assert with_all_marks(store, notes.append) is store
    assert with_marks(store, "") is store
    assert marks_digest(store) == ""
    assert notes == []
    assert Inputs(store, PLAIN, ()).store is store


def test_marks_that_name_nothing_are_counted(store: FeatureStore) -> None:
    marks = Marks(
        (Mark(clip="x.wav", mark="fault"), Mark(clip="x.wav#t=1,2", mark="fault"), Mark(clip=ODD, mark="none"))
    )
    nothing = MarkedStore(store, marks)
    assert nothing.lost == 2
    assert nothing.warnings == ("2 marks name no recording of this store (marks.jsonl)",)
    assert marks_digest(nothing) == ""
