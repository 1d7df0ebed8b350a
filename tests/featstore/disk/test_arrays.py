"""Files of named arrays: kinds are told apart, and tables of clips come back. tests/ensemble/scoring/test_file.py has
the damaged and hostile files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featstore.clip import Clip
from featstore.disk.arrays import (
    Kind,
    bytes_text,
    read_arrays,
    table_arrays,
    table_of,
    text_bytes,
    write_arrays,
)
from featstore.errors import DataError
from featstore.table import ClipTable, encode

KIND = Kind("test-kind", 3, "thing", "a thing", "`make thing`", "make it again with `make thing`")


def test_a_file_comes_back_and_messages_name_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(DataError, match=r"no such file; `make thing` makes a thing"):
        read_arrays(path, KIND)
    write_arrays(path, KIND, {"n": 1}, {"x": np.arange(3)})
    meta, arrays = read_arrays(path, KIND)
    assert meta == {"format": "test-kind", "version": 3, "n": 1}
    np.testing.assert_array_equal(arrays["x"], np.arange(3))
    with pytest.raises(DataError, match="is a thing of version 3, this program reads version 4; make it again"):
        read_arrays(path, replace(KIND, version=4))
    with pytest.raises(DataError, match="is no thing file: its metadata does not name a thing; `make thing` makes one"):
        read_arrays(path, replace(KIND, format="other"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"is damaged: .*; make it again with `make thing`"):
        read_arrays(path, KIND)


def test_a_table_comes_back(tmp_path: Path) -> None:
    clips = ClipTable.from_clips(
        [
            Clip("a\udcff.wav", "fan", "00", "train", "source", "normal", {"speed": "3"}),
            Clip("längere/b.wav", "pump", "01", "test", variant="clip 1"),
        ]
    )
    for table in (clips, clips[:0], ClipTable.from_clips([])):
        write_arrays(tmp_path / "a", KIND, {}, table_arrays(table, "t/"))
        again = table_of(read_arrays(tmp_path / "a", KIND)[1], "t/")
        assert list(again) == list(table)


@pytest.mark.parametrize("column", ["split", "domain", "label"])
def test_a_table_with_an_unknown_value_is_refused(column: str) -> None:
    arrays = table_arrays(ClipTable.from_clips([Clip("a", "fan", "00", "train")]), "t/")
    arrays[f"t/{column}"] = text_bytes(encode(["other"]))
    with pytest.raises(ValueError, match=f"column {column}"):
        table_of(arrays, "t/")


@pytest.mark.parametrize(
    "column",
    [np.zeros((2, 3), np.int8), np.zeros((1, 3), np.uint8), np.zeros((2, 0), np.uint8), np.zeros(2, np.uint8)],
    ids=["type", "rows", "width", "axes"],
)
def test_a_column_of_another_shape_is_refused(column: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the column x of its 2 clips"):
        bytes_text("x", column, 2)
