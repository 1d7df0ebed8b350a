"""Tables of results as DataFrames and Parquet files."""

import csv
import sys
from pathlib import Path

import pytest

from ensemble.tables.results import read_table, write_scores_parquet
from featstore.errors import DataError

ROWS = [
    ["clip", "machine", "section", "start_s", "score", "decision", "where", "not_scored", "logmel@mean knn"],
    ["NA/é.wav#t=0,10", "NA", "00", "0", "0.1234567890123456789", "1", "", "", "0.5"],
    ["7", "007", "01", "", "", "", "", "silent", ""],
]


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    with (tmp_path / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(ROWS)
    return tmp_path / "scores.csv"


def test_text_stays_text_and_missing_numbers_are_missing(scores: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = read_table(scores)
    assert frame["machine"].tolist() == ["NA", "007"]
    assert frame["section"].tolist() == ["00", "01"]
    assert frame["clip"].tolist() == ["NA/é.wav#t=0,10", "7"]
    assert frame["where"].tolist() == ["", ""]
    assert frame["score"].tolist()[0] == float("0.1234567890123456789")
    assert frame["score"].isna().tolist() == frame["start_s"].isna().tolist() == [False, True]
    assert pandas.read_csv(scores)["section"].tolist() == [0, 1], "why read_table exists"


def test_csv_and_parquet_are_the_same_table(scores: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = write_scores_parquet(scores)
    assert path == scores.with_suffix(".parquet")
    pandas.testing.assert_frame_equal(read_table(path), read_table(scores), check_dtype=False)


def test_bytes_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    (tmp_path / "scores.csv").write_bytes(b"clip,score\nx\xff.wav,1\n")
    assert read_table(tmp_path / "scores.csv")["clip"].tolist() == ["x\\xff.wav"]


@pytest.mark.parametrize(("name", "content"), [("a.csv", b""), ("a.parquet", b"no parquet"), ("none.csv", None)])
def test_what_is_no_table_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    pytest.importorskip("pandas")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: expected a table of detect"):
        read_table(tmp_path / name)


def test_a_missing_library_names_the_extra(scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"needs pandas; pip install 'featstore\[tables\]'"):
        read_table(scores)
