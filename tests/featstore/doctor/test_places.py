"""What a file system does is tried, failures are told apart, and nothing is left behind."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from featstore.doctor import places
from featstore.doctor.finding import BROKEN, NOTE, OK
from featstore.doctor.places import file_system_found, hub_cache, space_found


def refuse(*args: object, **kwargs: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_good_file_system_leaves_nothing_behind(tmp_path: Path) -> None:
    found = file_system_found(tmp_path / "not" / "yet")
    assert found.state == OK
    assert found.text == f"{tmp_path}: locks, hard links, files created once, synced folders work"
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    (store / "manifest").mkdir(parents=True)
    assert file_system_found(store).text.startswith(f"{tmp_path}: locks")


def test_without_links_a_store_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse)
    found = file_system_found(tmp_path)
    assert found.state == NOTE
    assert "locks work; hard links: Operation not permitted." in found.text


@pytest.mark.parametrize("lock", [refuse, lambda *args: None], ids=["no locks", "locks that let everybody in"])
def test_without_locks_a_store_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: object) -> None:
    monkeypatch.setattr(fcntl, "flock", lock)
    found = file_system_found(tmp_path)
    assert (found.state, found.mend) == (BROKEN, "put the store on another disk")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert file_system_found(tmp_path).state == NOTE
    assert "read-only" in file_system_found(tmp_path).text


def test_little_space_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "free_bytes", lambda path: 5_000_000)
    found = space_found("place", tmp_path)
    assert (found.state, found.text) == (NOTE, f"5.0 MB free in {tmp_path}")


def test_the_cache_of_the_hub_is_where_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", "/h")
    assert hub_cache() == Path("/h/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/c")
    assert hub_cache() == Path("/c")
