"""CSV files as people's programs write them."""

from pathlib import Path

import pytest

from featstore.errors import DataError
from featstore.layouts.csv_text import csv_rows

ROWS = [(1, ["a", "ü;x"]), (3, ["1", "2"])]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"a,ü;x{end}{end}1,2{end}".encode(encoding))
    assert list(csv_rows(tmp_path / "a.csv")) == ROWS


def test_rows_of_empty_cells_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b;c\n;;\n1;;\n ; ;\n")
    assert list(csv_rows(tmp_path / "a.csv")) == [(1, ["a", "b", "c"]), (3, ["1", "", ""])]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a;b\n1;2,5\n", ["1", "2,5"]),
        ("a\tb\n1\t2;3\n", ["1", "2;3"]),
        ("a\n1;2\n", ["1;2"]),
        ("sep=;\na\n1;2", ["1", "2"]),
    ],
)
def test_delimiters(tmp_path: Path, text: str, cells: list[str]) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert list(csv_rows(tmp_path / "a.csv"))[-1] == (3 if text.startswith("sep") else 2, cells)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"L\xfcfter\n")
    assert list(csv_rows(tmp_path / "a.csv")) == [(1, ["L\udcfcfter"])]
    assert list(csv_rows(tmp_path / "a.csv", is_raw=lambda rows: rows != [["L\udcfcfter"]])) == [(1, ["Lüfter"])]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty; expected a CSV file"),
        (b"\n\n", "is empty"),
        (b'a,"b', "not a CSV file"),
        (b"x" * 99, "more than"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"a.csv: .*{reason}"):
        list(csv_rows(tmp_path / "a.csv", max_bytes=50))
    with pytest.raises(DataError, match="No such file"):
        list(csv_rows(tmp_path / "gone.csv"))
