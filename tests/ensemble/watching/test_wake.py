"""Waits that end early."""

import threading
from pathlib import Path

import pytest

from ensemble.watching.wake import Wake


def test_a_stop_ends_every_wait(tmp_path: Path) -> None:
    with Wake(tmp_path, poll=True, say=lambda text: None) as wake:
        assert not wake.stopped
        wake.stop()
        wake.wait(1000, 500)
        wake.wait(1000)
        assert wake.stopped


def test_a_wait_ends_by_itself(tmp_path: Path) -> None:
    with Wake(tmp_path, poll=True, say=lambda text: None) as wake:
        wake.wait(0.01)
        assert not wake.stopped


def test_a_new_recording_ends_a_wait(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.wait(0.05):  # listening begins a moment after the start
            count += 1
            (tmp_path / f"{count}.wav").write_bytes(b"x")

    with Wake(tmp_path, poll=False, say=lambda text: None) as wake:
        writer = threading.Thread(target=write)
        writer.start()
        wake._changed.wait(30)
        assert wake._changed.is_set()
        wake.wait(1000)
        stop.set()
        writer.join()


def test_a_folder_that_is_away_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watchfiles = pytest.importorskip("watchfiles")
    told = threading.Event()
    log: list[str] = []
    calls = threading.Semaphore(0)

    def away(*words: object, **more: object) -> object:
        calls.release()
        raise FileNotFoundError("away")

    def say(text: str) -> None:
        log.append(text)
        told.set()

    monkeypatch.setattr(watchfiles, "watch", away)
    monkeypatch.setattr("ensemble.watching.wake.RETRY_S", 0.001)
    with Wake(tmp_path, poll=False, say=say):
        assert told.wait(20)
        for _ in range(3):
            assert calls.acquire(timeout=20)
    assert len(log) == 1
