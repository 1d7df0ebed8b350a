"""The kept results: what was written comes back, and no damaged or forged file is shown."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from large_results import large_scored
from report_plant import RECIPE, plant, store_of
from zones import zone

from ensemble.page.cards import card_of
from ensemble.page.items import items
from ensemble.page.kept import FILE, KIND, NAMES, ROWS, read_results, rows_digest, write_results
from ensemble.page.scored import Scored, scored_of
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from ensemble.windows.times import time_in
from featstore.clip import Clip, recording_of
from featstore.disk.arrays import read_arrays, write_arrays
from featstore.errors import DataError
from featstore.store import FeatureStore, StoreWriter
from featstore.table import ClipTable, encode

CURE = "make it again with `detect STORE --recipe RESULTS/recipe.toml -o RESULTS`"
NOT_UTF8 = "fan/00/test/\udcff\udcfe.wav"


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def of_store(folder: Path, clips: list[Clip], recipe: Recipe = RECIPE) -> Scored:
    store = store_of(folder, clips)
    return scored_of(detect(store, recipe), title="store", store=rows_digest(store, "e"))


def assert_same(one: Scored, other: Scored) -> None:
    for field in fields(Scored):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, err_msg=field.name)
            assert left.dtype == right.dtype, field.name
        elif isinstance(left, ClipTable):
            assert list(left) == list(right), field.name
        elif field.name == "banks":
            assert len(left) == len(right)
            for mine, theirs in zip(left, right, strict=True):
                np.testing.assert_array_equal(mine, theirs)
        elif field.name == "nearest":
            assert list(left) == list(right)
        else:
            assert left == right, field.name


def back(scored: Scored, folder: Path) -> Scored:
    return read_results(write_results(folder / FILE, scored))


def test_domains_of_machines_that_have_none_come_back(tmp_path: Path) -> None:
    scored = replace(large_scored(8), target=np.repeat([0.5, np.nan], 4))
    assert_same(replace(scored, metrics={}), replace(back(scored, tmp_path), metrics={}))


def test_results_of_a_detection_come_back(tmp_path: Path) -> None:
    clips = plant()
    clips[30] = replace(clips[30], path=NOT_UTF8, attributes={"speed": "3 <b>"})
    scored = replace(
        of_store(tmp_path / "s", clips),
        where={0: "2 kHz \udcff", 3: ""},
        notes=("ä note",),
        warnings=("<script>",),
        metrics={"false_alarms": [{"rate": float("nan")}], "rule": 2023},
    )
    again = back(scored, tmp_path)
    assert np.isnan(again.metrics["false_alarms"][0]["rate"])
    assert_same(replace(scored, metrics={}), replace(again, metrics={}))
    assert NOT_UTF8 in again.keys
    assert again.store
    assert len(again.limits) == len(again.banks) == 2
    assert again.rates


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe((Member("e", "knn:k=1"),)),
        replace(RECIPE, domains="predicted"),
        replace(RECIPE, domains="known", tail="none"),
        replace(RECIPE, pool_sections=True),
        replace(RECIPE, fdr=0.2),
        replace(RECIPE, thresholds=(("fan/00", 0.5),)),
    ],
    ids=["single", "predicted", "known", "pooled", "fdr", "by hand"],
)
def test_results_of_every_rule_come_back(tmp_path: Path, recipe: Recipe) -> None:
    scored = of_store(tmp_path / "s", plant(), recipe)
    assert_same(scored, back(scored, tmp_path))


def test_training_clips_that_are_ranked_come_back(tmp_path: Path) -> None:
    scored = of_store(tmp_path / "s", [clip for clip in plant() if clip.split == "train"])
    assert scored.self_ranked
    assert_same(scored, back(scored, tmp_path))


def test_times_of_names_are_shown_as_they_are_written(tmp_path: Path) -> None:
    scored = large_scored(40, windows=True)
    names = [f"fan/20240131_1000{i:02d}.wav#t=0.000000,1.000000" for i in range(len(scored.clips))]
    clips = ClipTable({**scored.clips.columns, "path": encode(names)})
    times = np.array([time_in(recording_of(name)) or np.nan for name in names])
    scored = replace(scored, clips=clips, times=times, time_source="name")
    with zone("Asia/Kolkata"):
        there = back(scored, tmp_path)
        assert card_of(there, items(there)[0]).recorded.startswith("2024-01-31 10:00:")
        files = back(replace(scored, time_source="file"), tmp_path)
        np.testing.assert_array_equal(files.times, times)


def test_numbers_that_are_not_finite_come_back(tmp_path: Path) -> None:
    scored = large_scored(40, windows=True)
    threshold = scored.threshold.copy()
    threshold[:3] = (np.inf, -np.inf, np.nan)
    limits = (replace(scored.limits[0], value=None, requested=None), replace(scored.limits[1], value=-np.inf))
    times, seconds, distance = scored.times.copy(), scored.seconds.copy(), scored.nearest_distance.copy()
    times[0], seconds[1, 1], distance[2] = np.nan, np.nan, np.nan
    scored = replace(
        scored,
        threshold=threshold,
        limits=(*limits, *scored.limits[2:]),
        times=times,
        seconds=seconds,
        nearest_distance=distance,
        nearest=["", *scored.nearest[1:]],
        nominal=None,
    )
    assert_same(scored, back(scored, tmp_path))


def test_no_clips_and_no_limits_come_back(tmp_path: Path) -> None:
    scored = large_scored(8)
    nothing = np.zeros(0, dtype=np.intp)
    changes: dict[str, Any] = {name: getattr(scored, name)[:0] for name in ("score", "percentile", "p_value", "times")}
    changes |= {name: getattr(scored, name)[:0] for name in ("threshold", "nearest_distance", "seconds", "limit_of")}
    empty = replace(
        scored,
        **changes,
        clips=scored.clips[nothing],
        train=scored.train[nothing],
        reference=scored.reference[:0],
        member_percentiles=scored.member_percentiles[:, :0],
        nearest=[],
        limits=(),
        banks=(),
        where={},
    )
    assert_same(empty, back(empty, tmp_path))


def test_results_decided_by_hand_are_kept_as_the_run_made_them(tmp_path: Path) -> None:
    scored = large_scored(80)
    assert_same(scored, back(scored.with_thresholds({("fan", "00"): 0.5}), tmp_path))


def test_a_cut_or_changed_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = write_results(tmp_path / FILE, large_scored(8))
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for i in rng.integers(len(data), size=150).tolist():
        for damaged in (data[:i], data[:i] + bytes([data[i] ^ 0x41]) + data[i + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=f"{CURE}|--ensemble -o RESULTS` makes one") as error:
                read_results(path)
            assert str(path) in str(error.value)


def forged(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> Path:
    """The file with another content and a right checksum."""
    _, arrays = read_arrays(path, KIND)
    content = json.loads(arrays["json"].tobytes())
    change(content, arrays)
    arrays["json"] = np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)
    write_arrays(path, KIND, {}, arrays)
    return path


VALUES = (None, True, 7, -1, 1e300, float("nan"), "x", "\ud800", [], [1], {}, {"x": 1}, [[]], 10**40)


def test_every_other_value_of_the_description_is_read_or_refused(tmp_path: Path) -> None:
    scored = replace(large_scored(8), where={0: "a"}, notes=("n",), warnings=("w",))
    keys = json.loads(read_arrays(write_results(tmp_path / FILE, scored), KIND)[1]["json"].tobytes())
    read = 0
    for key in keys:
        for value in VALUES:
            write_results(tmp_path / FILE, scored)
            forged(tmp_path / FILE, lambda content, _: content.__setitem__(key, value))  # noqa: B023 - called at once
            try:
                again = read_results(tmp_path / FILE)
                read += 1
            except DataError as error:
                assert str(tmp_path / FILE) in str(error)  # noqa: PT017 - many of a kind
                assert CURE in str(error)  # noqa: PT017
            else:
                assert type(getattr(again, key)) is type(getattr(scored, key)) or key in ("nominal", "banks")
        write_results(tmp_path / FILE, scored)
        forged(tmp_path / FILE, lambda content, _: content.pop(key))  # noqa: B023
        with pytest.raises(DataError, match=f"'{key}' is missing"):
            read_results(tmp_path / FILE)
    assert read < 3 * len(keys)


def test_every_array_of_another_shape_or_type_is_refused(tmp_path: Path) -> None:
    scored = replace(large_scored(8), target=np.full(8, 0.5), copied=np.zeros(8, dtype=bool))
    arrays = read_arrays(write_results(tmp_path / FILE, scored), KIND)[1]
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "shorter": lambda array: array[:-1],
        "longer": lambda array: np.concatenate([array, array]),
        "deeper": lambda array: array[None],
        "float32": lambda array: array.astype(np.float32),
        "int64": lambda array: array.astype(np.int64),
    }
    del arrays["json"]
    for name in arrays:
        for what, change in changes.items():
            write_results(tmp_path / FILE, scored)
            forged(tmp_path / FILE, lambda _, own: own.__setitem__(name, change(own[name])))  # noqa: B023
            with pytest.raises(DataError, match="holds no valid results"):
                pytest.fail(f"{name} {what}: {read_results(tmp_path / FILE)!r:.20}")
        if name in ("target", "limit_of", "copied", "banks"):
            continue
        write_results(tmp_path / FILE, scored)
        forged(tmp_path / FILE, lambda _, own: own.pop(name))  # noqa: B023
        with pytest.raises(DataError, match="is missing"):
            read_results(tmp_path / FILE)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("score", np.nan, "score has values that are not finite"),
        ("score", -1e308, "score has values outside 0 and 1"),
        ("reference", 1.5, "reference has values outside 0 and 1"),
        ("threshold", -1e308, "threshold has values outside"),
        ("banks", -1e308, "banks has values outside"),
        ("reference", np.inf, "reference has values that are not finite"),
        ("banks", np.nan, "banks has values that are not finite"),
        ("percentile", 1.5, "percentile has values outside"),
        ("p_value", -0.1, "p_value has values outside"),
        ("member_percentiles", 2, "member_percentiles has values outside"),
        ("seconds", np.inf, "ends before it starts"),
        ("seconds", -1, "ends before it starts"),
        ("seconds", 10.5, "ends before it starts"),
        ("times", 1e300, "times has values outside"),
        ("times", -5, "times has values outside"),
        ("target", 1.5, "target has values outside"),
        ("limit_of", 8, "limit_of has values outside 0 and 7"),
        ("copied", 2, "copied has values other than 0 and 1"),
        ("limit_of", -1, "limit_of has values outside"),
        ("clips/label", 0xFF, "unknown values"),
        ("clips/split", 0xFF, "unknown values"),
        ("clips/attributes", ord("x"), "Expecting value"),
    ],
)
def test_numbers_and_names_that_no_run_writes_are_refused(tmp_path: Path, name: str, value: float, words: str) -> None:
    path = write_results(
        tmp_path / FILE, replace(large_scored(16), target=np.full(16, 0.5), copied=np.zeros(16, dtype=bool))
    )

    def change(_: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[0] = value

    with pytest.raises(DataError, match=words):
        read_results(forged(path, change))


def test_a_null_byte_in_a_path_is_refused(tmp_path: Path) -> None:
    def change(_: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays["clips/path"] = arrays["clips/path"].copy()
        arrays["clips/path"][0, 3] = 0

    with pytest.raises(DataError, match="path of its clips has a null byte"):
        read_results(forged(write_results(tmp_path / FILE, large_scored(8)), change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["limits"].append(dict(c["limits"][0], references=-1)), "references is -1"),
        (lambda c: c["limits"].append(dict(c["limits"][0], low=2)), "low is 2, expected a share"),
        (lambda c: c["limits"].append(dict(c["limits"][0], expected=None)), "expected is None"),
        (lambda c: c["limits"][0].update(worth=1e9), "worth is 1e.09, expected at most"),
        (lambda c: c["limits"][0].update(worth=float("nan")), "worth is nan"),
        (lambda c: c["limits"][0].pop("domain"), "a row has the keys"),
        (lambda c: c["limits"][0].update(shifted=1), "shifted is 1"),
        (lambda c: c["limits"][0].update(machine=3), "machine is 3"),
        (lambda c: c.update(banks=[-1, *c["banks"][1:]]), "banks is"),
        (lambda c: c.update(where={"8": "x"}), "where names the row '8' of 8 clips"),
        (lambda c: c.update(where={"-1": "x"}), "where names the row"),
        (lambda c: c.update(where={"²": "x"}), "where names the row"),
        (lambda c: c.update(where={"1": 3}), "1 is 3, expected str"),
        (lambda c: c.update(drifts=[{"machine": "fan"}]), "a row has the keys"),
        (lambda c: c["limits"][0].update(value=-1e308), "limits has values outside 0 and 1"),
        (lambda c: c.update(bounded=False) or c["limits"][0].update(value=-1e308), r"outside -1e\+150 and 1e\+150"),
        (lambda c: c.update(recipe="a = " + "[" * 100_000), "holds no valid results"),
        (lambda c: c.update(recipe="a = 1" + "0" * 5000), "holds no valid results"),
        (lambda c: c.update(metrics={"official_score": {"value": "x"}, "rule": 2023}), "value is 'x'"),
        (lambda c: c.update(metrics={"sections": [{"machine": "fan"}]}), "'section' is missing"),
    ],
)
def test_a_forged_description_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str) -> None:
    path = write_results(tmp_path / FILE, large_scored(8))
    with pytest.raises(DataError, match=words):
        read_results(forged(path, lambda content, _: change(content)))


@pytest.mark.parametrize(("rows", "name"), [("drifts", "at_least"), ("rates", "rate"), ("rates", "low")])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**40])
def test_a_number_of_a_row_that_is_not_finite_is_refused(tmp_path: Path, rows: str, name: str, value: float) -> None:
    row = dict.fromkeys(ROWS[rows], 0.5) | {key: "" for key in ROWS[rows] if key in NAMES}
    path = write_results(tmp_path / FILE, replace(large_scored(8), **{rows: (row,)}))  # type: ignore[arg-type]
    assert getattr(read_results(path), rows) == (row,)
    with pytest.raises(DataError, match=f"{name} is (nan|inf), expected a finite number"):
        read_results(forged(path, lambda content, _: content[rows][0].update({name: value})))


def test_a_deeply_nested_description_is_refused(tmp_path: Path) -> None:
    path = write_results(tmp_path / FILE, large_scored(8))
    _, arrays = read_arrays(path, KIND)
    arrays["json"] = np.frombuffer(b"[" * 200_000, dtype=np.uint8)
    write_arrays(path, KIND, {}, arrays)
    with pytest.raises(DataError, match="holds no valid results"):
        read_results(path)


def test_a_file_of_another_kind_or_version_is_refused(tmp_path: Path) -> None:
    from ensemble.scoring.file import MODEL, read_model

    path = write_results(tmp_path / FILE, large_scored(8))
    with pytest.raises(DataError, match="does not name a fitted model"):
        read_model(path)
    write_arrays(path, MODEL, {}, {})
    with pytest.raises(DataError, match="does not name the results of a run"):
        read_results(path)
    write_arrays(path, replace(KIND, version=2), {}, {})
    with pytest.raises(DataError, match="of version 2"):
        read_results(path)
    with pytest.raises(DataError, match="no such file; `detect STORE --ensemble -o RESULTS` makes"):
        read_results(tmp_path / "none")


def test_the_checksum_of_rows_follows_the_store(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", plant())
    before = rows_digest(store, "e")
    assert before == rows_digest(FeatureStore.open(tmp_path / "s"), "e")
    with StoreWriter(tmp_path / "s") as writer:
        after = writer.remove("e", ["fan/00/test/0.wav"])
    assert rows_digest(after, "e") != before


def test_copies_and_what_training_clips_are_worth_come_back(tmp_path: Path) -> None:
    scored = of_store(tmp_path / "s", plant())
    copied = np.arange(len(scored.clips)) % 3 == 0
    limits = tuple(replace(limit, worth=2.5) for limit in scored.limits)
    again = back(replace(scored, copied=copied, limits=limits), tmp_path)
    np.testing.assert_array_equal(again.copied, copied)
    assert again.copied is not None
    assert again.copied.dtype == bool
    assert again.limits == limits
    assert back(scored, tmp_path).copied is None


def test_results_that_do_not_say_what_training_clips_are_worth_count_all(tmp_path: Path) -> None:
    path = write_results(tmp_path / FILE, of_store(tmp_path / "s", plant()))

    def change(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        for limit in content["limits"]:
            del limit["worth"]

    limits = read_results(forged(path, change)).limits
    assert [limit.worth for limit in limits] == [limit.references for limit in limits] != []
