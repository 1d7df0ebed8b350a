"""A model file: what was written comes back, and every damaged or foreign file is refused by name, without a cost."""

import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.scoring.file import MODEL, one_update, read_model, write_model
from featstore.disk.arrays import KEY, MAX_HEADER_BYTES
from featstore.errors import DataError, StoreError

ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array([1, 2], dtype=np.uint8)}


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "a.model", {"k": "ä", "n": [1, None]}, ARRAYS)
    return tmp_path / "a.model"


def with_header(header: dict[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def sealed(path: Path, header: dict[str, Any], body: bytes = b"") -> Path:
    """A file with this header and a right checksum."""
    import hashlib

    meta = json.dumps({"format": MODEL.format, "version": MODEL.version})
    zeros = "checksum=" + "0" * 64
    header = {"__metadata__": {KEY: meta, "checksum": zeros}, **header}
    data = with_header(header, body)
    digest = hashlib.sha256(data).hexdigest()
    path.write_bytes(data.replace(zeros.encode(), f"checksum={digest}".encode()))
    return path


def test_what_is_written_comes_back_read_only(path: Path) -> None:
    meta, arrays = read_model(path)
    assert (meta["k"], meta["n"]) == ("ä", [1, None])
    assert set(arrays) == set(ARRAYS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype
        assert not array.flags.writeable


def test_arrays_of_any_order_and_no_arrays(tmp_path: Path) -> None:
    X = np.arange(12.0).reshape(3, 4)
    write_model(tmp_path / "b", {}, {"t": X.T, "s": X[:, ::2], "empty": X[:0]})
    for name, array in read_model(tmp_path / "b")[1].items():
        np.testing.assert_array_equal(array, {"t": X.T, "s": X[:, ::2], "empty": X[:0]}[name])
    write_model(tmp_path / "c", {"k": 1}, {})
    assert read_model(tmp_path / "c")[1] == {}


def test_a_file_cut_at_any_length_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=str(path)):
            read_model(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(DataError, match="damaged"):
        read_model(path)


def test_every_changed_byte_is_found(path: Path) -> None:
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ (0x01, 0x20, 0xFF)[i % 3]]) + data[i + 1 :])
        with pytest.raises(DataError, match=str(path)):
            read_model(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no model file"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "is no model file"),
        (pickle.dumps(print), "is no model file"),
        (b"\xff" * 200, "is no model file"),
        ((100).to_bytes(8, "little") + b"{" + b"\xff" * 99, "is no model file"),
        ((200_000).to_bytes(8, "little") + b'{"a":' * 40_000, "is no model file"),
        ((60_002).to_bytes(8, "little") + b'{"a":' + b"[" * 59_997, "is no model file"),
        (with_header({"x": 1}), "no list of arrays"),
        (with_header({"__metadata__": {"featstore": "[" * 50_000}}), "is no model file"),
        (with_header({"__metadata__": {"featstore": "[]"}}), "does not name a fitted model"),
        (with_header({"__metadata__": {"format": "pt"}}), "does not name a fitted model"),
        (with_header({"__metadata__": {"featstore": '{"format": "featstore-model", "version": 2}'}}), "of version 2"),
        (with_header({"__metadata__": {"featstore": '{"format": "featstore-model"}'}}), "of version None"),
        (
            with_header({"__metadata__": {"featstore": '{"format": "featstore-model", "version": 1}'}}),
            "checksum is missing",
        ),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "b.model"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path}.*{words}"):
        read_model(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, words in (
        (tmp_path, "no regular file"),
        (tmp_path / "pipe", "no regular file"),
        (tmp_path / "loop", "no such"),
        (tmp_path / "none", "no such file; `detect fit STORE"),
    ):
        with pytest.raises(DataError, match=rf"{path}: .*{words}"):
            read_model(path)


def test_a_link_that_the_user_names_is_followed_and_kept(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "current.model"
    link.symlink_to(path)
    assert read_model(link)[0]["k"] == "ä"
    write_model(link, {"k": "new"}, {})
    assert link.is_symlink()
    assert read_model(path)[0]["k"] == "new"


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [1 << 62, 4], "data_offsets": [0, 0]},
        {"dtype": "F64", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [0, 1 << 62], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [1.0], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 1 << 62]},
        {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]},
        {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": ["F64"], "shape": [1], "data_offsets": [0, 8]},
        {"dtype": {}, "shape": [1], "data_offsets": [0, 8]},
        {"shape": [1], "data_offsets": [0, 8]},
        {},
    ],
    ids=str,
)
def test_a_declared_shape_that_does_not_fit_is_refused_without_an_allocation(
    tmp_path: Path, entry: dict[str, Any]
) -> None:
    path = sealed(tmp_path / "bomb.model", {"x": entry}, b"\0" * 8)
    tracemalloc.start()
    with pytest.raises(DataError, match=str(path)):
        read_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_sealed_files_of_these_tests_are_read(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a", {"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 8)
    np.testing.assert_array_equal(read_model(path)[1]["x"], [0.0])


def test_a_header_longer_than_its_file_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bomb.model"
    path.write_bytes(MAX_HEADER_BYTES.to_bytes(8, "little") + b"{")
    tracemalloc.start()
    with pytest.raises(DataError, match="ends within its header"):
        read_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_reading_allocates_a_small_multiple_of_the_file(tmp_path: Path) -> None:
    write_model(tmp_path / "big", {}, {"x": np.zeros(1 << 20)})
    tracemalloc.start()
    read_model(tmp_path / "big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * (tmp_path / "big").stat().st_size


def test_the_old_file_stays_where_writing_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(Exception, match="no space"):
        write_model(path, {"k": "other"}, {})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_one_update_at_a_time_and_nothing_stays_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "plant.model"
    path.write_bytes(b"x")
    (tmp_path / "plant.model.0a1b2c3d.tmp").write_bytes(b"torn")
    (tmp_path / "other.model.0a1b2c3d.tmp").write_bytes(b"of another")
    with one_update(path):
        assert sorted(file.name for file in tmp_path.iterdir()) == ["other.model.0a1b2c3d.tmp", "plant.model"]
        with pytest.raises(StoreError, match="is being updated by another process"), one_update(path):
            pytest.fail("two updates at once")
    with pytest.raises(FileNotFoundError), one_update(path):
        raise FileNotFoundError("an error of the block is not hidden")
    with one_update(tmp_path / "absent.model"):
        pass
