"""A file is written completely or not at all, and the free space and cores are counted once."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from featstore.building.cores import cores
from featstore.disk import files
from featstore.disk.files import (
    SPARE_BYTES,
    TEMPORARY_SUFFIX,
    check_space,
    create_checked,
    free_bytes,
    is_full,
    make_folder,
    replacing,
    write_checked,
    write_exclusive,
    write_new,
)
from featstore.errors import ResourceError, StoreError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [{}, {"a": b"old"}], ids=["new", "replaced"])
def test_a_written_file_is_whole_and_alone_in_its_folder(tmp_path, before):
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)
    write_new(tmp_path / "a", b"new")
    assert contents(tmp_path) == {"a": b"new"}
    with replacing(tmp_path / "a") as part:
        assert part.name.endswith(TEMPORARY_SUFFIX)
        part.write_bytes(b"newer")
        assert contents(tmp_path) == {"a": b"new", part.name: b"newer"}
    assert contents(tmp_path) == {"a": b"newer"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file(tmp_path, error):
    write_new(tmp_path / "a", b"old")

    def write_half() -> None:
        with replacing(tmp_path / "a") as part, part.open("xb") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failing_system_call_leaves_the_old_file(tmp_path, monkeypatch, name):
    write_new(tmp_path / "a", b"old")

    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, name, fail)
    for write in (lambda path: write_new(path, b"new"), write_with_block):
        with pytest.raises(OSError, match="Input/output error"):
            write(tmp_path / "a")
        assert contents(tmp_path) == {"a": b"old"}


def write_with_block(path: Path) -> None:
    with replacing(path) as part:
        part.write_bytes(b"new")


@pytest.mark.parametrize("block", [False, True])
def test_file_and_folder_are_synced(tmp_path, monkeypatch, block):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    write_with_block(tmp_path / "a") if block else write_new(tmp_path / "a", b"new")
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_an_exclusive_write_replaces_nothing(tmp_path):
    write_exclusive(tmp_path / "a", b"old")
    with pytest.raises(FileExistsError):
        write_exclusive(tmp_path / "a", b"new")
    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize(
    "write", [lambda path: write_new(path, b""), write_with_block, lambda path: write_exclusive(path, b"")]
)
def test_an_error_names_the_file_not_its_temporary_name(tmp_path, write):
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path / "nowhere" / "a.npz")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.npz")
    (tmp_path / "b.npz").mkdir()
    with pytest.raises(OSError, match=r"b\.npz") as caught:
        write(tmp_path / "b.npz")
    assert TEMPORARY_SUFFIX not in str(caught.value)


def free(monkeypatch, count: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=count))


def test_space_for_the_file_and_a_reserve_is_needed(tmp_path, monkeypatch):
    free(monkeypatch, 100 + SPARE_BYTES - 1)
    with pytest.raises(ResourceError, match=f"needs {100 + SPARE_BYTES} bytes, {100 + SPARE_BYTES - 1} are free"):
        check_space("a", 100, tmp_path)
    free(monkeypatch, 100 + SPARE_BYTES)
    check_space("a", 100, tmp_path)


def test_a_read_only_folder_is_not_a_full_disk(tmp_path, monkeypatch):
    """A file system that is mounted read-only reports no free space."""
    free(monkeypatch, 0)
    assert is_full(tmp_path / "new", 1)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert not is_full(tmp_path / "new", 1)

    def refuse(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=r"cannot write .*a\.json: Read-only file system"):
        write_checked(tmp_path / "a.json", b"1")


def test_a_file_is_created_in_place_once(tmp_path):
    create_checked(tmp_path / "a", b"old")
    with pytest.raises(StoreError, match="was written by another process meanwhile"):
        create_checked(tmp_path / "a", b"new")
    assert contents(tmp_path) == {"a": b"old"}


def test_a_file_whose_folder_cannot_be_synced_is_removed(tmp_path, monkeypatch):
    def fail(folder):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync_directory", fail)
    with pytest.raises(StoreError, match="Input/output error"):
        create_checked(tmp_path / "a", b"new")
    assert contents(tmp_path) == {}


def test_a_folder_is_made_with_its_parents(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "c")


def test_free_space_of_a_folder_that_does_not_exist_yet(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": len(path.parts)}))
    assert free_bytes(tmp_path / "a" / "b") == free_bytes(tmp_path) == len(tmp_path.parts)


def test_cores_are_those_this_process_may_use(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
        assert cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
