"""Parquet and CSV tables with a column of vectors, or with numbered columns."""

import csv
from pathlib import Path

import numpy as np
import pytest

from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.kinds.content import Source
from featstore.exchange.kinds.table import read_content

pa = pytest.importorskip("pyarrow")
from pyarrow.parquet import write_table  # noqa: E402

pytestmark = pytest.mark.usefixtures("unsynced")
X = np.array([[0.5, -1.25, 3e-7], [2.0, 0.1, 1e4]], dtype=np.float32)
DESCRIPTION = {
    "Filename": ["fan/a.wav", "fan/b.wav"],
    "machine": ["fan", "fan"],
    "section": [1, 2],
    "split": ["train", "test"],
    "domain": ["source", "target"],
    "label": ["normal", "anomaly"],
    "attr_load": ["6", "12"],
    "start_s": [0.0, 2.5],
    "end_s": [2.5, 5.0],
    "comment": ["x", None],
}
CLIPS = [
    Clip("fan/a.wav#t=0,2.5", "fan", "01", "train", "source", "normal", {"load": "6"}),
    Clip("fan/b.wav#t=2.5,5", "fan", "02", "test", "target", "anomaly", {"load": "12"}),
]


def parquet(path: Path, **columns: object) -> Path:
    write_table(pa.table({**DESCRIPTION, **columns}), path)
    return path


def numbered(prefix: str, values: np.ndarray = X, first: int = 0) -> dict[str, np.ndarray]:
    return {f"{prefix}{first + i}": column for i, column in enumerate(values.T)}


LISTS = {
    "list": pa.array(X.tolist(), pa.list_(pa.float32())),
    "large list of float64": pa.array(X.tolist(), pa.large_list(pa.float64())),
    "list of float16": pa.array(X.astype("f2").tolist(), pa.list_(pa.float16())),
    "fixed size": pa.array(X.tolist(), pa.list_(pa.float32(), 3)),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(X),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_column_of_vectors_with_its_own_manifest(tmp_path, importing, kind):
    said: list[str] = []
    store = importing(parquet(tmp_path / "x.parquet", vector=LISTS[kind]), say=said.append)
    expected = X.astype("f2").astype("f4") if kind == "list of float16" else X
    np.testing.assert_array_equal(store.matrix("e"), expected)
    assert store.info("e").dtype == ("float16" if kind == "list of float16" else "float32")
    assert list(store.clips("e")) == CLIPS
    assert said == [f"{tmp_path / 'x.parquet'}: embeddings of vector; columns not used: comment"]


@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.float32())), pa.list_(pa.list_(pa.float32(), 3), 2)], ids=str)
def test_lists_of_lists_are_views(tmp_path, importing, kind):
    values = np.stack([X, X + 1, X - 1])[:, :2]
    columns = {name: [*column, column[0]] for name, column in DESCRIPTION.items()}
    columns["Filename"][2] = "fan/c.wav"
    write_table(pa.table({**columns, "v": pa.array(values.tolist(), kind)}), tmp_path / "x.parquet")
    np.testing.assert_array_equal(importing(tmp_path / "x.parquet").matrix("e"), values)


@pytest.mark.parametrize("first", [0, 1])
def test_numbered_columns_go_by_their_numbers(tmp_path, importing, first):
    wide = np.tile(X, 4)
    columns = numbered("e", wide + np.arange(12, dtype=np.float32), first)
    shuffled = dict(sorted(columns.items()))  # e0, e1, e10, e11, e2, ...
    store = importing(parquet(tmp_path / "x.parquet", **shuffled))
    np.testing.assert_array_equal(store.matrix("e"), wide + np.arange(12, dtype=np.float32))


def test_the_key_names_one_of_several_groups_or_columns(tmp_path, importing):
    path = parquet(tmp_path / "x.parquet", **numbered("a_"), **numbered("b_", X + 1))
    with pytest.raises(
        DataError, match=r"several groups of numbered columns \('a_', 'b_'\); name one \(--key PREFIX\)"
    ):
        importing(path)
    np.testing.assert_array_equal(importing(path, key="b_").matrix("e"), X + 1)


def test_two_columns_of_vectors_need_a_key(tmp_path, importing):
    path = parquet(tmp_path / "x.parquet", v=X.tolist(), w=(X + 1).tolist())
    with pytest.raises(DataError, match=r"columns of vectors: v, w; name one \(--key\)"):
        importing(path)
    np.testing.assert_array_equal(importing(path, key="w").matrix("e"), (X + 1))


@pytest.mark.parametrize(
    ("columns", "key", "message"),
    [
        ({}, None, "expected a column of vectors or numbered columns: no numbered columns"),
        ({"v": [[1.0, 2.0], [1.0]]}, None, "column v, row 2: a vector of length 1, the first has 2"),
        ({"v": [[1.0, 2.0], None]}, None, "column v, row 2: an empty cell; every row needs its vector"),
        ({"v": [[1.0, 2.0], [1.0, None]]}, None, "column v, row 2: a vector with an empty value or NaN"),
        ({"v": [[1.0, 2.0], [1.0, float("nan")]]}, None, r"not finite as float32 .*, first row 2 \('fan/b.wav"),
        ({"v": pa.array([[], []], pa.list_(pa.float32()))}, None, "column v, row 1: a vector of length 0"),
        ({"v": [[[1.0], [2.0]], [[1.0]]]}, None, "column v, row 2: a vector of length 1, the first has 2"),
        ({"v": [["a"], ["b"]]}, None, "no numbered columns"),
        ({"v": [[1.0], [2.0]]}, "comment", "the column comment holds no vectors"),
        ({"v": [[1.0], [2.0]]}, "z", r"no columns z0, z1, \.\.\.; its columns are"),
        ({"e0": [1.0, 2.0], "e2": [1.0, 2.0]}, None, "lack e1; name all of them"),
        ({"e3": [1.0, 2.0], "e4": [1.0, 2.0]}, None, "lack e0; name all of them"),
        ({"e0": [1.0, None], "e1": [1.0, 2.0]}, None, "column e0, row 2: an empty cell"),
        ({"v": [[1.0], [2.0]], "clip": ["a", "b"]}, None, "columns Filename, clip could all be path"),
        ({"v": [[1.0], [2.0]], "Filename": ["a.wav", None]}, None, "row 2, column path: expected the path"),
        ({"v": [[1.0], [2.0]], "Filename": [1, 2]}, None, "column path: expected text, got 1"),
        ({"v": [[1.0], [2.0]], "start_s": [0.0, 5.0]}, None, "row 2, column end_s: the window ends at 5 s"),
        ({"v": [[1.0], [2.0]], "anomaly": [0, 1]}, None, "columns label and anomaly both state a label"),
    ],
    ids=range(18),
)
def test_every_mismatch_of_a_table_is_named(tmp_path, importing, columns, key, message):
    path = parquet(tmp_path / "x.parquet", **columns)
    with pytest.raises(DataError, match=message):
        importing(path, key=key)


def test_a_table_without_paths_takes_a_manifest(tmp_path, importing, manifest):
    write_table(pa.table({"v": X.tolist(), "score": [1, 2]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"no description of its rows: expected a column of paths .*columns are score"):
        importing(tmp_path / "x.parquet")
    assert importing(tmp_path / "x.parquet", manifest=manifest).clips("e").keys() == ["a.wav", "b.wav"]


def test_a_table_far_larger_than_its_file_is_refused(tmp_path, importing, monkeypatch):
    from featstore.exchange.kinds import content

    monkeypatch.setattr(content, "FREE_BYTES", 1 << 20)
    rows = 1 << 14
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * 64, dtype=np.float32)), 64)
    write_table(pa.table({"v": vectors, **numbered("e", np.zeros((rows, 64), np.float32))}), tmp_path / "x.parquet")
    for key in ("v", "e"):
        with pytest.raises(DataError, match=r"declares 4,194,304 bytes in a file of"):
            importing(tmp_path / "x.parquet", key=key)


def test_a_damaged_table_is_an_error(tmp_path, importing):
    path = parquet(tmp_path / "x.parquet", v=X.tolist())
    content = path.read_bytes()
    for damaged in (b"", b"PAR1", content[:-20], content[:100] + bytes(200) + content[300:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"x\.parquet: "):
            importing(path)


def digits(value: float) -> str:
    return np.float32(value).astype("U32").item()


def text_of(delimiter: str = ",", cells: tuple[str, str] = ("{}", "{}")) -> str:
    names = ["Filename", "machine", "section", "split", "domain", "label", "attr_load", "start_s", "end_s", "comment"]
    rows = [["fan/a.wav", "fan", "01", "train", "source", "normal", "6", "0", "2.5", "é"]]
    rows += [["fan/b.wav", "fan", "02", "test", "target", "anomaly", "12", "2.5", "5", ""]]
    lines = [delimiter.join([*names, cells[0]])]
    lines += [
        delimiter.join([*row, cells[1].format(*map(digits, vector))]) for row, vector in zip(rows, X, strict=True)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("delimiter", "cells"),
    [
        (",", ("f0,f1,f2", "{},{},{}")),
        (";", ("f0;f1;f2", "{};{};{}")),
        ("\t", ("f0\tf1\tf2", "{}\t{}\t{}")),
        (",", ("embedding", '"{},{},{}"')),
        (",", ("embedding", '"[{}, {}, {}]"')),
        (",", ("embedding", "[{} {}  {}]")),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_with_numbered_columns_or_one_of_vectors(tmp_path, importing, delimiter, cells, mark):
    (tmp_path / "x.csv").write_text(mark + text_of(delimiter, cells), encoding="utf-8")
    store = importing(tmp_path / "x.csv")
    np.testing.assert_array_equal(store.matrix("e"), X)
    assert list(store.clips("e")) == CLIPS


def test_a_csv_file_of_birdnet_analyzer(tmp_path, importing):
    lines = ["file_path,start,end,embedding", '/d/x/a.wav,0.0,3.0,"0.5,1e-05"', '/d/x/a.wav,3.0,6.0,"0.25,2.0"']
    (tmp_path / "x.csv").write_text("\n".join(lines))
    store = importing(tmp_path / "x.csv", root=Path("/d"))
    assert store.clips("e").keys() == ["x/a.wav#t=0,3", "x/a.wav#t=3,6"]
    np.testing.assert_array_equal(store.matrix("e"), np.array([[0.5, 1e-5], [0.25, 2]], dtype=np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows; expected a header and one line per clip"),
        ("path,e0,e1\n", "no rows"),
        ("path,score\na.wav,1\n", "expected numbered columns or a column of vectors: no numbered columns"),
        ("path,e0,e1\na.wav,1\n", "line 2: 2 cells, but the header has 3"),
        ("path,e0,e1\na.wav,1,2\nb.wav,1,x\n", "line 3, column e1: expected a number, got 'x'"),
        ("path,e0,e1\na.wav,1,\n", "line 2, column e1: expected a number, got ''"),
        ('path,v\na.wav,"1,2"\nb.wav,"1,2,3"\n', "line 3: a vector of 3 numbers, the first has 2"),
        ('path,v\na.wav,"1,2"\nb.wav,"[1 2 ... 3]"\n', "line 3, column v: expected a number, got '...'"),
        ('path,v,w\na.wav,"1,2","3,4"\n', r"columns of vectors: v, w; name one \(--key\)"),
        ("path,e0,e0\na.wav,1,2\n", "the column 'e0' occurs twice"),
        ("x,e0,e1\na.wav,1,2\n", "expected a column of paths .* its columns are x"),
        ("path,e0,e1\na.wav,nan,2\n", "not finite as float32"),
        ('path,e0,e1\n"a.wav,1,2\n', "not a CSV file"),
        ("path,e0,e1\na.wav,1,2\na.wav,1,2\n", "'a.wav' stands in 2 rows"),
        ("p\0th,e0,e1\na.wav,1,2\n", "not a CSV file in UTF-8"),
    ],
    ids=range(15),
)
def test_every_mismatch_of_a_csv_file_is_named(tmp_path, importing, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        importing(tmp_path / "x.csv")


def test_the_key_chooses_columns_of_a_csv_file(tmp_path, importing):
    (tmp_path / "x.csv").write_text('path,v,w,a0,a1\na.wav,"1,2","3,4",5,6\n')
    for key, row in {"v": [1, 2], "w": [3, 4], "a": [5, 6]}.items():
        import shutil

        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        assert importing(tmp_path / "x.csv", key=key).matrix("e").tolist() == [row]


@pytest.mark.parametrize("head", ["path;e0;e1", "path\te0\te1", '"path";"e, 0";e0;e1', "sep=;\npath;e0;e1"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_as_spreadsheets_write_it(tmp_path, importing, head, encoding):
    mark = "\t" if "\t" in head else ";"
    row = mark.join(["fän/a.wav", *(["x"] if "e, 0" in head else []), "1", "2.5"])
    (tmp_path / "x.csv").write_bytes(f"{head}\r\n{row}\r\n".encode(encoding))
    store = importing(tmp_path / "x.csv")
    assert (store.clips("e").keys(), store.matrix("e").tolist()) == (["fän/a.wav"], [[1, 2.5]])


@pytest.mark.parametrize("key", [None, "e0"])
def test_decimal_commas_are_refused(tmp_path, importing, key):
    (tmp_path / "x.csv").write_text("path;e0;e1\na.wav;0,5;1,5\n")
    with pytest.raises(DataError, match=r"column e0 has numbers with a decimal comma \(0,5\); save"):
        importing(tmp_path / "x.csv", key=key)


def test_the_limit_of_cells_is_that_of_the_process_afterwards(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (tmp_path / "a.csv").write_text("path,e0,e1\na.wav,1,2\nb.wav,3,4\n")
    read_content(Source(tmp_path / "a.csv", None, tmp_path, tmp_path))
    assert csv.field_size_limit() == before
