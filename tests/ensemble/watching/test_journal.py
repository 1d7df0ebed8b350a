"""The journal on disk: durable, repaired, in segments, for one watch at a time."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from watching import Clock

from ensemble.watching import journal as journal_module
from ensemble.watching.journal import Journal, line, read_records
from ensemble.watching.state import Known, known_record
from ensemble.watching.whole import Version
from featstore.errors import ResourceError, StoreError

pytestmark = pytest.mark.usefixtures("unsynced")

OCTOBER, NOVEMBER = 1_791_000_000.0, 1_794_000_000.0
START = {"kind": "start", "folder": "/sound", "sinks": ["stdout"]}


def known(name: str) -> dict[str, Any]:
    return known_record(name, Known(Version(1, 2), 1))


@pytest.fixture
def wall() -> Clock:
    return Clock(OCTOBER)


@pytest.fixture
def log() -> list[str]:
    return []


def opened(folder: Path, log: list[str], wall: Clock) -> Journal:
    return Journal(folder, say=log.append, wall=wall)


def test_what_was_added_is_there_again(tmp_path: Path, log: list[str], wall: Clock) -> None:
    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START, known("a.wav"))
        journal.add(known("\udcff é.wav"))
        before = journal.state
    with opened(tmp_path / "j", log, wall) as journal:
        assert journal.state == before
        assert list(journal.state.known) == ["a.wav", "\udcff é.wav"]
    lines = (tmp_path / "j" / "000001_2026-10.jsonl").read_text().splitlines()
    assert [json.loads(text)["kind"] for text in lines] == ["journal", "start", "known", "known"]
    assert log == []


def test_a_record_waits_for_the_disk_unless_told_otherwise(
    tmp_path: Path, log: list[str], wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    with opened(tmp_path / "j", log, wall) as journal:
        monkeypatch.setattr(os, "fsync", synced.append)
        journal.add(START, durable=False)
        assert synced == []
        journal.add(known("a"))
        assert len(synced) == 1


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_a_torn_end_is_cut_off(tmp_path: Path, log: list[str], wall: Clock, cut: int) -> None:
    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START, known("a"))
        path = journal.path
    whole = path.read_bytes()
    torn = line(known("b"))
    path.write_bytes(whole + (torn[:-cut] or b"\0" * 4096))
    with opened(tmp_path / "j", log, wall) as journal:
        assert list(journal.state.known) == ["a"]
        assert path.read_bytes() == whole
        journal.add(known("c"))
    with opened(tmp_path / "j", log, wall) as journal:
        assert list(journal.state.known) == ["a", "c"]
    assert ["cut off" in text for text in log] == [True]


def test_a_damaged_line_in_the_middle_is_left_out_and_said(tmp_path: Path, log: list[str], wall: Clock) -> None:
    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START, known("aaaa"), known("b"))
        path = journal.path
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"aaxa"))
    with opened(tmp_path / "j", log, wall) as journal:
        assert list(journal.state.known) == ["b"]
    assert log == [f"{path}, line 3: damaged, left out; a file that it named is scored again"]


def test_a_second_watch_is_refused(tmp_path: Path, log: list[str], wall: Clock) -> None:
    with opened(tmp_path / "j", log, wall), pytest.raises(StoreError, match=f"process {os.getpid()}"):
        opened(tmp_path / "j", log, wall)
    opened(tmp_path / "j", log, wall).close()


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, log: list[str], wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, data[:5])
        raise OSError(28, "No space left on device")

    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(ResourceError):
                journal.add(known("a"))
        assert journal.state.known == {}
        journal.add(known("b"))
    with opened(tmp_path / "j", log, wall) as journal:
        assert list(journal.state.known) == ["b"]
    assert log == []


def test_a_new_month_begins_a_segment_with_all_that_is_known(tmp_path: Path, log: list[str], wall: Clock) -> None:
    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START, known("a"), known("b"))
        assert not journal.turn({"a", "b"})
        wall.now = NOVEMBER
        assert journal.turn({"b"})
        assert not journal.turn({"b"})
        journal.add(known("c"))
    assert sorted(path.name for path in (tmp_path / "j").glob("*.jsonl")) == [
        "000001_2026-10.jsonl",
        "000002_2026-11.jsonl",
    ]
    (tmp_path / "j" / "000001_2026-10.jsonl").unlink()
    with opened(tmp_path / "j", log, wall) as journal:
        assert {path: known.gone for path, known in journal.state.known.items()} == {"a": True, "b": False, "c": False}
        assert journal.state.started


def test_a_long_segment_is_followed_by_another(
    tmp_path: Path, log: list[str], wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 250)
    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START, known("a"))
        assert journal.turn({"a"})
        assert not journal.turn({"a"})  # a checkpoint alone never is too long
    with opened(tmp_path / "j", log, wall) as journal:
        assert not journal.turn({"a"})
        journal.add(*(known(str(i)) for i in range(4)))
        assert journal.turn({"a"})
    assert [record["path"] for record in read_records(tmp_path / "j") if record["kind"] == "known"] == [
        *"aa0123",
        *"a0123",
    ]


def test_a_segment_grows_at_least_by_the_size_of_its_checkpoint(
    tmp_path: Path, log: list[str], wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 250)
    everything = {str(i) for i in range(100)}
    with opened(tmp_path / "j", log, wall) as journal:
        journal.add(START, *map(known, "abcdefghij"))
        assert journal.turn({*"abcdefghij"})
        journal.add(*map(known, "01234"))
        assert not journal.turn(everything)
        journal.add(*map(known, "56789KLM"))
        assert journal.turn(everything)


def test_a_journal_without_a_record_is_refused(tmp_path: Path, log: list[str], wall: Clock) -> None:
    (tmp_path / "000007_2026-10.jsonl").write_bytes(b"not ours\n")
    with pytest.raises(StoreError, match="no valid record; move it away"):
        opened(tmp_path, log, wall)


def test_a_record_that_is_not_of_the_format_is_refused(tmp_path: Path, log: list[str], wall: Clock) -> None:
    (tmp_path / "000007_2026-10.jsonl").write_bytes(line({"kind": "journal", "format": 1}) + line({"kind": "unheard"}))
    with pytest.raises(StoreError, match="line 2 is no record of this format"):
        opened(tmp_path, log, wall)


def test_a_link_is_not_followed(tmp_path: Path, log: list[str], wall: Clock) -> None:
    (tmp_path / "secret").write_bytes(line({"kind": "journal", "format": 1}))
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "000001_2026-10.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError, match="symbolic link"):
        opened(tmp_path / "j", log, wall)
