"""A file is written completely or not at all, and the free space and cores are counted once."""

import os
from pathlib import Path

import pytest

from featstore.building.cores import cores
from featstore.disk.files import TEMPORARY_SUFFIX, free_bytes, replacing, write_exclusive, write_new


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
