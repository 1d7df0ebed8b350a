"""A store, exported in each format and imported again, is equal in every field; edited exports lose the fingerprint."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_store import INFO, make_store, rows

from featstore.clip import Clip
from featstore.errors import DataError, RequestError
from featstore.exchange.embeddings import export, import_files
from featstore.exchange.kinds import own
from featstore.store import EmbeddingInfo, FeatureStore, ShardData
from featstore.table import ClipTable

pytestmark = pytest.mark.usefixtures("unsynced")
KINDS = ["npz", "csv", "parquet", "hf"]

CLIPS = [
    Clip("fan/a.wav", "fan", "00", "train", "source", "normal", {"load": "=1+1", "é": '"'}),
    Clip("fan/a.wav", "fan", "00", "train", "source", "anomaly", variant="squeal-10-1"),
    Clip("fan/a.wav#t=0,2.5", "fan", "01", "test", "target", "unknown"),
    Clip("fan/a.wav#t=2.5,5", "fan", "01", "test", "target", "anomaly"),
    Clip('odd "x",\n🎧;\t.wav', "-1", "=SUM(A1)", "supplemental"),
]
SHAPES = [((4,), ()), ((2, 3), ("mean", "p90")), ((2, 3), ())]


def stored(
    path: Path, dtype: str = "float32", shape: tuple[int, ...] = (4,), views: tuple[str, ...] = ()
) -> FeatureStore:
    info = replace(INFO, dtype=dtype, shape=shape, views=views, channel="1", length="window:2.5,2.5")
    matrix = (rows(range(len(CLIPS)), info) + np.float32(0.1)).astype(dtype)
    return make_store(path, ShardData(info, ClipTable.from_clips(CLIPS), matrix))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    if request.param == "hf":
        pytest.importorskip("datasets")
    return str(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("shape", "views"), SHAPES, ids=str)
def test_an_export_comes_back_equal_in_every_field(
    tmp_path: Path, kind: str, dtype: str, shape: tuple[int, ...], views: tuple[str, ...]
) -> None:
    store = stored(tmp_path / "store", dtype, shape, views)
    export(store, "twfr", tmp_path / f"e.{kind}", to=kind)
    assert import_files(tmp_path / "again", [tmp_path / f"e.{kind}"], "twfr") == len(CLIPS)
    again = FeatureStore.open(tmp_path / "again")
    assert again.info("twfr") == store.info("twfr")
    assert list(again.clips("twfr")) == list(store.clips("twfr")) == CLIPS
    np.testing.assert_array_equal(again.matrix("twfr"), store.matrix("twfr"))


def test_a_manifest_is_not_needed_and_the_name_is_free(tmp_path: Path, kind: str) -> None:
    store = stored(tmp_path / "store")
    export(store, "twfr", tmp_path / f"e.{kind}", to=kind)
    import_files(tmp_path / "again", [tmp_path / f"e.{kind}"], "other")
    assert FeatureStore.open(tmp_path / "again").info("other") == replace(store.info("twfr"), name="other")


def parts_of(tmp_path: Path, kind: str) -> list[Path]:
    """Two exports of one embedder with different clips."""
    files = []
    for number, clips in enumerate((CLIPS[:2], CLIPS[2:])):
        table = ClipTable.from_clips(clips)
        store = make_store(tmp_path / f"s{number}", ShardData(INFO, table, rows(range(number, number + len(clips)))))
        files.append(tmp_path / f"{number}.{kind}")
        export(store, "twfr", files[-1], to=kind)
    return files


def test_exports_of_one_embedder_join_under_one_name(tmp_path: Path, kind: str) -> None:
    first, second = parts_of(tmp_path, kind)
    import_files(tmp_path / "one", [first, second], "twfr")
    import_files(tmp_path / "two", [first], "twfr")
    import_files(tmp_path / "two", [second], "twfr")
    one, two = FeatureStore.open(tmp_path / "one"), FeatureStore.open(tmp_path / "two")
    assert list(one.clips("twfr")) == list(two.clips("twfr")) == CLIPS
    assert one.info("twfr") == two.info("twfr") == INFO


def test_as_many_other_rows_of_the_same_embedder_are_no_repetition(tmp_path: Path) -> None:
    for number, values in enumerate(([1, 2], [3, 4])):
        table = ClipTable.from_clips([replace(CLIPS[0], path=f"{value}.wav") for value in values])
        store = make_store(tmp_path / f"s{number}", ShardData(INFO, table, rows(values)))
        export(store, "twfr", tmp_path / f"{number}.npz")
        import_files(tmp_path / "all", [tmp_path / f"{number}.npz"], "twfr")
    again = FeatureStore.open(tmp_path / "all")
    assert again.rows("twfr") == 4
    number = again.manifest.number
    import_files(tmp_path / "same", [tmp_path / "0.npz"], "twfr")
    number = FeatureStore.open(tmp_path / "same").manifest.number
    import_files(tmp_path / "same", [tmp_path / "0.npz"], "twfr")
    assert FeatureStore.open(tmp_path / "same").manifest.number == number


def test_exports_of_two_embedders_do_not_join(tmp_path: Path) -> None:
    first, _ = parts_of(tmp_path, "npz")
    table = ClipTable.from_clips(CLIPS[2:])
    store = make_store(tmp_path / "s", ShardData(replace(INFO, fingerprint="a" * 64), table, rows([1, 2, 3])))
    export(store, "twfr", tmp_path / "x.npz")
    with pytest.raises(DataError, match="embeddings of different shapes, views, channels or embedders"):
        import_files(tmp_path / "one", [first, tmp_path / "x.npz"], "twfr")
    import_files(tmp_path / "two", [first], "twfr")
    with pytest.raises(RequestError, match="already has other rows as 'twfr'"):
        import_files(tmp_path / "two", [tmp_path / "x.npz"], "twfr")


def edit(path: Path, change: str) -> None:
    """Change one number, one text or the note of an export as .npz."""
    with np.load(path) as file:
        arrays = dict(file)
    if change == "number":
        arrays["embedding"][1, 0] += 1
    elif change == "text":
        arrays["section"][1] = "07"
    else:
        arrays[own.NOTE] = np.array(change)
    np.savez(path, **arrays)


def imported(tmp_path: Path, path: Path) -> tuple[EmbeddingInfo, list[str]]:
    said: list[str] = []
    import_files(tmp_path / "again", [path], "twfr", say=said.append)
    return FeatureStore.open(tmp_path / "again").info("twfr"), said


@pytest.mark.parametrize("change", ["number", "text"])
def test_edited_rows_do_not_keep_the_fingerprint(tmp_path: Path, change: str) -> None:
    export(stored(tmp_path / "store"), "twfr", tmp_path / "e.npz")
    edit(tmp_path / "e.npz", change)
    info, said = imported(tmp_path, tmp_path / "e.npz")
    assert info.fingerprint != INFO.fingerprint
    assert (info.config, info.sample_rate_hz, info.channel) == ({"imported": True}, 0, "1")
    assert said == [f"{tmp_path / 'e.npz'}: not the rows that twfr was exported with; its fingerprint is not kept"]


DEEP = "[" * 100_000
NOTES = [
    "",
    "{}",
    "[1]",
    DEEP,
    json.dumps({"format": own.FORMAT, "version": own.VERSION, "info": 3, "rows_sha256": ""}),
]


@pytest.mark.parametrize("text", NOTES, ids=["none", "empty", "list", "deep", "number"])
def test_a_damaged_note_is_not_used(tmp_path: Path, text: str) -> None:
    export(stored(tmp_path / "store"), "twfr", tmp_path / "e.npz")
    edit(tmp_path / "e.npz", text)
    info, said = imported(tmp_path, tmp_path / "e.npz")
    assert info.fingerprint != INFO.fingerprint
    assert said == ([f"{tmp_path / 'e.npz'}: its note on the embedding is damaged and not used"] if text else [])


def test_a_csv_file_sorted_by_another_program_is_a_table_of_the_same_shape(tmp_path: Path) -> None:
    export(stored(tmp_path / "store", shape=(2, 3), views=("mean", "p90")), "twfr", tmp_path / "e.csv", to="csv")
    with (tmp_path / "e.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    with (tmp_path / "e.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *reversed(lines)])
    info, said = imported(tmp_path, tmp_path / "e.csv")
    assert (info.shape, info.views) == ((2, 3), ("mean", "p90"))
    assert "its fingerprint is not kept" in said[0]
    assert list(FeatureStore.open(tmp_path / "again").clips("twfr")) == CLIPS[::-1]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("split", "dev", "column split: expected train, test, supplemental; got 'dev'"),
        ("label", "bad", "column label: expected normal, anomaly, unknown; got 'bad'"),
        ("attributes", "[1]", "column attributes: expected a JSON object"),
        ("attributes", '{"a": 1}', "column attributes: expected a JSON object"),
        ("attributes", DEEP, "column attributes: expected a JSON object"),
        ("path", "../secret.wav", r"contains '\.\.'"),
        ("path", "/etc/a.wav#t=0,1", "is absolute"),
        ("path", "fan/a.wav", "'fan/a.wav' stands in 2 rows, first in 1 and 4"),
    ],
)
def test_values_that_no_store_holds_are_refused(tmp_path: Path, column: str, value: str, message: str) -> None:
    export(stored(tmp_path / "store"), "twfr", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as file:
        arrays = dict(file)
    arrays[column] = np.array([*arrays[column][:3], value, arrays[column][4]])
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(DataError, match=message):
        import_files(tmp_path / "again", [tmp_path / "e.npz"], "twfr")
    assert not (tmp_path / "again").exists()


def test_the_checksum_of_rows_does_not_depend_on_blocks(tmp_path: Path) -> None:
    store = stored(tmp_path / "store")
    sums = {own.rows_sha256(store.blocks("twfr", size)) for size in (1, 2, 100)}
    assert len(sums) == 1
    assert own.rows_sha256([(store.clips("twfr"), store.matrix("twfr") + 1)]) not in sums
