"""A model that grows equals one that was fitted to all clips at once, and tells what changed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted_plant import MEMBERS, assert_same, fitted_of, in_store, listed, store_of, through_file, variants

from ensemble.fitting.fit import fit
from ensemble.fitting.fitted import Fitted
from ensemble.fitting.update import changes, updated
from ensemble.marks.file import Mark, append_mark
from ensemble.recipe import Recipe
from featstore.clip import Clip, window_path
from featstore.errors import DataError, RequestError
from featstore.store import FeatureStore
from featstore.table import ClipTable

RECIPE = Recipe(MEMBERS, domains="predicted")
CLIPS = listed()
TEST = [clip for clip in CLIPS if clip.split == "test"]


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("whole") / "s", CLIPS)


@pytest.fixture(scope="module")
def old_store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("old") / "s", trained(0, 16))


@pytest.fixture(scope="module")
def old(old_store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted_of(old_store, RECIPE, tmp_path_factory.mktemp("model"))


def trained(first: int, last: int, clips: Sequence[Clip] = CLIPS) -> list[Clip]:
    """Training clips of some numbers."""
    return [c for c in clips if c.split == "train" and first <= int(c.path[-7:-4]) < last]


def in_order(fitted: Fitted, order: Sequence[str]) -> np.ndarray:
    place = {key: i for i, key in enumerate(fitted.train.keys())}
    return np.array([place[key] for key in order])


def assert_equal(fitted: Fitted, expected: Fitted, whole: FeatureStore) -> None:
    """The same training clips, in any order, the same honest scores, thresholds, and decisions on test clips."""
    assert sorted(fitted.train.keys()) == sorted(expected.train.keys())
    rows = in_order(fitted, expected.train.keys())
    np.testing.assert_allclose(fitted.honest[:, rows], expected.honest, rtol=1e-9, atol=1e-9)
    assert [fitted.contents[i] for i in rows] == list(expected.contents)
    assert fitted.thresholds().keys() == expected.thresholds().keys()
    for place, (n, value) in expected.thresholds().items():
        assert fitted.thresholds()[place][0] == n
        assert fitted.thresholds()[place][1] == pytest.approx(value, abs=1e-9)
    clips = whole.clips("v")[whole.clips("v").where(split="test")]
    rows_of_test = in_store(whole, clips)
    result, plain = fitted.detect(clips, rows_of_test), expected.detect(clips, rows_of_test)
    assert_same(replace(result, reference=result.reference[rows]), plain)


@pytest.mark.parametrize(
    "options",
    [{}, {"domains": "pooled"}, {"group": "day"}, {"pool_sections": True}],
    ids=["predicted", "pooled", "day", "sections"],
)
@pytest.mark.parametrize("grown", [False, True], ids=["new clips only", "all clips"])
def test_an_update_is_a_fit_to_all_clips(
    whole: FeatureStore, tmp_path: Path, options: dict[str, object], grown: bool
) -> None:
    recipe = replace(RECIPE, **options)  # type: ignore[arg-type]
    before = fitted_of(store_of(tmp_path / "old", trained(0, 16)), recipe, tmp_path)
    store = whole if grown else store_of(tmp_path / "new", trained(16, 24))
    after, new, _ = updated(before, store, workers=0)
    assert new == 4 * 8
    assert_equal(through_file(after, tmp_path), fit(whole, recipe, workers=0)[0], whole)


def test_two_updates_are_one(whole: FeatureStore, old: Fitted, tmp_path: Path) -> None:
    for first, last in ((16, 20), (18, 24)):
        store = store_of(tmp_path / f"{first}", trained(first, last))
        old, new, _ = updated(through_file(old, tmp_path), store, workers=0)
        assert new == 4 * 4
    assert_equal(old, fit(whole, RECIPE, workers=0)[0], whole)


def test_a_store_with_nothing_new_changes_nothing(old_store: FeatureStore, old: Fitted, tmp_path: Path) -> None:
    after, new, _ = updated(old, old_store)
    assert after is old
    assert new == 0
    renamed = [replace(c, path=c.path.replace(".wav", "_copy.wav")) for c in trained(0, 4)]
    rows = store_of(tmp_path / "s", [*trained(0, 2), *TEST])
    assert updated(old, rows)[1] == 0
    assert updated(old, store_of(tmp_path / "t", TEST))[1] == 0, "no training clips at all"
    assert updated(old, store_of(tmp_path / "u", renamed), workers=0)[1] == len(renamed), "other contents"


def test_a_single_new_clip_joins_its_section(whole: FeatureStore, old: Fitted, tmp_path: Path) -> None:
    """Its store has nothing to compare it with, but the model has."""
    clip = trained(16, 17)[:1]
    after, new, notes = updated(old, store_of(tmp_path / "s", [*clip, *TEST]), workers=0)
    assert new == 1
    assert not any("nothing to be compared with" in note or "ranked among" in note for note in notes)
    expected = fit(store_of(tmp_path / "t", [*trained(0, 16), *clip]), RECIPE, workers=0)[0]
    assert_equal(after, expected, whole)


def test_new_sections_are_added_unless_they_have_a_single_clip(whole: FeatureStore, tmp_path: Path) -> None:
    some = [clip for clip in trained(0, 24) if clip.machine == "fan"]
    before = fitted_of(store_of(tmp_path / "old", some), RECIPE, tmp_path)
    after, new, _ = updated(before, whole, workers=0)
    assert new == 2 * 24
    assert_equal(after, fit(whole, RECIPE, workers=0)[0], whole)
    single = [replace(trained(0, 1)[0], path="valve/0.wav", machine="valve")]
    after, _, notes = updated(before, store_of(tmp_path / "new", [*trained(0, 2), *single]), workers=0)
    assert "valve section 00: left out, because its single clip has nothing to be compared with" in notes
    assert {machine for machine, _ in after.detectors} == {"fan", "pump"}


def test_the_same_clip_is_known_by_its_content_and_else_by_its_key(old: Fitted, tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", trained(14, 18))
    unknown = replace(old, contents=[""] * len(old.train))
    assert updated(unknown, store, workers=0)[1] == 4 * 4, "the store knows contents that the model lacks"


@pytest.mark.parametrize(
    ("field", "value"),
    [("fingerprint", "b" * 64), ("channel", "1"), ("length", "crop:2"), ("dtype", "float16")],
)
def test_another_way_to_build_is_refused(old: Fitted, tmp_path: Path, field: str, value: str) -> None:
    store = store_of(tmp_path / "s", trained(16, 18), **{field: value})
    with pytest.raises(RequestError, match=rf"{tmp_path}/s: [vh] has {field} .*, the model was fitted to "):
        updated(old, store)


def test_a_missing_embedding_is_named(old: Fitted, tmp_path: Path) -> None:
    from fitted_plant import INFOS, rows_of

    from featstore.store import ShardData, StoreWriter
    from featstore.table import ClipTable

    clips = trained(16, 18)
    with StoreWriter(tmp_path / "s") as writer:
        writer.commit([ShardData(INFOS["v"], ClipTable.from_clips(clips), rows_of(clips)["v"])])
    with pytest.raises((RequestError, DataError), match="h"):
        updated(old, FeatureStore.open(tmp_path / "s"))


def test_changes_tell_thresholds_and_what_is_found(old: Fitted, whole: FeatureStore, tmp_path: Path) -> None:
    faults = variants(trained(0, 24))
    store = store_of(tmp_path / "s", [*CLIPS, *faults])
    after, _, _ = updated(old, store, workers=0)
    rows = changes(old, after, store)
    assert {(row.machine, row.section, row.domain) for row in rows} == set(old.thresholds())
    for row in rows:
        place = (row.machine, row.section, row.domain)
        assert row.clips == (old.thresholds()[place][0], after.thresholds()[place][0])
        assert row.threshold == (old.thresholds()[place][1], after.thresholds()[place][1])
        here = [
            fault
            for fault in faults
            if (fault.machine, fault.section, fault.domain) == place and int(fault.path[-7:-4]) < 16
        ]
        assert row.anomalies == len(here) > 0, "only anomalies of clips that both models know"
        table = store.clips("v")[np.isin(store.clips("v").keys(), [fault.key for fault in here])]
        for side, share in zip((old, after), row.found, strict=True):
            assert share == pytest.approx(side.detect(table, in_store(store, table)).decision.mean())
    assert max(row.found[0] for row in rows) > 0.5


def test_changes_without_anomalies_and_with_new_sections(whole: FeatureStore, tmp_path: Path) -> None:
    some = [clip for clip in trained(0, 24) if clip.machine == "fan"]
    before = fitted_of(store_of(tmp_path / "old", some), replace(RECIPE, domains="pooled"), tmp_path)
    after = updated(before, whole, workers=0)[0]
    rows = {(row.machine, row.section): row for row in changes(before, after, whole)}
    assert set(rows) == {("fan", "00"), ("fan", "01"), ("pump", "00"), ("pump", "01")}
    assert rows["pump", "00"].clips == (0, 24)
    assert np.isnan(rows["pump", "00"].threshold[0])
    assert rows["fan", "00"].threshold[0] == rows["fan", "00"].threshold[1]
    assert all(row.anomalies == 0 and np.isnan(row.found).all() for row in rows.values())


FIRST = trained(0, 1)[0]


def test_a_marked_clip_leaves_under_any_path_and_no_other_of_its_path(old: Fitted, tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [*trained(0, 2), *TEST])
    append_mark(store.path, Mark(clip=FIRST.path, mark="fault"))
    moved = replace(old, train=_renamed(old, FIRST.path, "moved.wav"))
    assert "moved.wav" not in updated(moved, store, workers=0)[0].train.keys()  # noqa: SIM118 - a table, not a dict
    contents = ["other" if key == FIRST.path else own for key, own in zip(old.train.keys(), old.contents, strict=True)]
    after, new, _ = updated(replace(old, contents=contents), store, workers=0)
    assert after.contents == contents, "another recording of the same path"
    assert new == 0


@pytest.mark.parametrize("side", ["model", "store"])
def test_a_marked_clip_leaves_by_its_path_where_a_content_is_unknown(old: Fitted, tmp_path: Path, side: str) -> None:
    before = replace(old, contents=[""] * len(old.train)) if side == "model" else old
    store = store_of(tmp_path / "s", [*trained(0, 2), *TEST], known=side == "model")
    append_mark(store.path, Mark(clip=FIRST.path, mark="ignore"))
    assert FIRST.path not in updated(before, store, workers=0)[0].train.keys()  # noqa: SIM118 - a table, not a dict


def test_a_window_whose_mark_is_taken_back_joins_again(tmp_path: Path) -> None:
    windows = [replace(c, path=window_path(c.path, i, i + 2)) for c in trained(0, 8) for i in range(3)]
    store = store_of(tmp_path / "s", windows)
    recipe = replace(RECIPE, domains="pooled")
    whole = fitted_of(store, recipe, tmp_path)
    append_mark(store.path, Mark(clip=windows[0].path, mark="ignore"))
    without, new, _ = updated(whole, store, workers=0)
    assert (len(without.train), new) == (len(windows) - 1, 0)
    append_mark(store.path, Mark(clip=windows[0].path, mark="none"))
    again, new, _ = updated(without, store, workers=0)
    assert (len(again.train), new) == (len(windows), 1)
    assert updated(again, store, workers=0)[1] == 0


def _renamed(fitted: Fitted, path: str, other: str) -> ClipTable:
    return ClipTable.from_clips([replace(c, path=other) if c.path == path else c for c in fitted.train])
