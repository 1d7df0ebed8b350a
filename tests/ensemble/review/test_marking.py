"""Marks of the page are those of `detect mark`, and the last one can be taken back."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from review_plant import session_of
from window_page import window_session

from ensemble.cli import main
from ensemble.marks.file import Mark, append_mark, read_marks
from ensemble.marks.listing import add_mark
from ensemble.review.marking import given_note, history, mark_clip, mark_of_item, undo, words_now
from ensemble.review.session import Session
from featstore.errors import RequestError, StoreError

CLIP = "fan/00/test/1.wav"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path, data=False)


@pytest.fixture
def windows(tmp_path: Path) -> Session:
    return window_session(tmp_path / "windows", data=False)


def counting(session: Session) -> dict[str, str]:
    """The mark that counts, by key."""
    return {session.scored.keys[row]: mark.mark for row, mark in session.marked.items()}


def listed(session: Session) -> str:
    result = CliRunner().invoke(main, ["marks", str(session.path)])
    assert result.exit_code == 0, result.output
    return result.output


def words(marks: Sequence[Mark]) -> list[str]:
    return [mark.mark for mark in marks]


def test_a_mark_is_one_of_detect_mark(session: Session) -> None:
    written = mark_clip(session, Mark(clip=CLIP, mark="fault", who="tester", note="it rattles"))
    assert read_marks(session.path).items == (written,)
    assert written.checksum
    assert written.when
    assert counting(session) == {CLIP: "fault"}
    for text in (CLIP, "fault", "tester", "it rattles"):
        assert text in listed(session)


def test_undo_brings_back_what_was_before(session: Session) -> None:
    mark_clip(session, Mark(clip=CLIP, mark="fault", who="anna", note="rattles"))
    session.undoable.marks.clear()
    mark_clip(session, Mark(clip=CLIP, mark="normal", who="tester"))
    mark_clip(session, Mark(clip=CLIP, mark="ignore", who="tester"))
    assert (taken := undo(session))
    assert taken.mark == "ignore"
    assert counting(session) == {CLIP: "normal"}
    assert undo(session)
    assert counting(session) == {CLIP: "fault"}
    last = session.marks.items[-1]
    assert last.who == "tester"
    assert last.note.startswith("undo: as marked by anna on 20")
    assert last.note.endswith(": rattles")
    assert undo(session) is None, "the mark of anna is none of this session"
    assert len(session.marks.items) == 5, "the history keeps every line"


def test_what_is_another_mark_is_written(session: Session) -> None:
    first = mark_clip(session, Mark(clip=CLIP, mark="fault", who="tester", note="a"))
    assert mark_clip(session, Mark(clip=CLIP, mark="fault", who="tester", note="a")) == first
    for other in (
        Mark(clip=CLIP, mark="fault", who="tester", note="b"),
        Mark(clip=CLIP, mark="fault", who="anna", note="b"),
        Mark(clip=CLIP, mark="fault", who="anna", note="b", start_s=0.0, end_s=1.0),
        Mark(clip=CLIP, mark="normal", who="anna", note="b"),
    ):
        assert mark_clip(session, other).line == len(session.marks.items)
    assert len(session.marks.items) == len(session.undoable.marks) == 5


def test_the_note_of_a_mark_that_holds_again(session: Session) -> None:
    mark_clip(session, Mark(clip=CLIP, mark="fault", who="anna on 2020-01-01", note="rattles: loud"))
    for word in ("normal", "ignore"):
        mark_clip(session, Mark(clip=CLIP, mark=word, who="tester"))
        undo(session)
        assert given_note(session.marks.items[-1]) == "rattles: loud"
    assert given_note(Mark(clip=CLIP, mark="fault", note="undo: no")) == "undo: no"


def test_the_marks_that_hold_now(windows: Session) -> None:
    item = windows.items[0]
    mark = mark_of_item(windows.scored, item, "fault")
    assert words_now(windows, mark) == ["none"]
    append_mark(windows.path, Mark(clip=windows.scored.keys[item.rows[0]], mark="normal"))
    assert words_now(windows, mark) == ["none", "normal"]


def test_undo_of_a_first_mark_and_of_a_removal(session: Session) -> None:
    mark_clip(session, Mark(clip=CLIP, mark="fault"))
    mark_clip(session, Mark(clip=CLIP, mark="none"))
    assert counting(session) == {}
    undo(session)
    assert counting(session) == {CLIP: "fault"}
    undo(session)
    assert counting(session) == {}
    assert "no marked clips" in listed(session)


def test_a_removal_that_removes_nothing_is_not_offered_for_undo(session: Session) -> None:
    mark_clip(session, Mark(clip=CLIP, mark="none"))
    assert undo(session) is None


def test_undo_keeps_what_another_process_marked(session: Session) -> None:
    mark_clip(session, Mark(clip="fan/00/test/3.wav", mark="fault"))
    mark_clip(session, Mark(clip=CLIP, mark="fault"))
    add_mark(session.path, Mark(clip=CLIP, mark="normal", who="anna"))
    with pytest.raises(RequestError, match=r"marked again meanwhile.*normal by anna"):
        undo(session)
    assert counting(session) == {CLIP: "normal", "fan/00/test/3.wav": "fault"}
    assert undo(session), "the mark before it can be taken back"
    assert counting(session) == {CLIP: "normal"}


def test_another_clip_of_another_process_does_not_matter(session: Session) -> None:
    mark_clip(session, Mark(clip=CLIP, mark="fault"))
    add_mark(session.path, Mark(clip="fan/00/test/3.wav", mark="normal"))
    undo(session)
    assert counting(session) == {"fan/00/test/3.wav": "normal"}


def test_an_event_is_marked_as_a_part(windows: Session) -> None:
    item = windows.items[0]
    mark = mark_of_item(windows.scored, item, "fault", who="tester", note="x")
    assert (mark.clip, mark.start_s, mark.end_s) == (item.recording, item.start_s, item.end_s)
    mark_clip(windows, mark)
    assert {windows.scored.keys[row] for row in item.rows} <= set(counting(windows))
    assert set(counting(windows).values()) == {"fault"}
    undo(windows)
    assert counting(windows) == {}
    assert len(windows.marks.items) == 2, "one line takes all windows back"


def test_undo_of_a_part_brings_back_different_marks(windows: Session) -> None:
    item = windows.items[0]
    keys = [windows.scored.keys[row] for row in item.rows]
    append_mark(windows.path, Mark(clip=keys[0], mark="normal", who="anna"))
    append_mark(windows.path, Mark(clip=keys[2], mark="ignore", who="anna"))
    before = counting(windows)
    mark_clip(windows, mark_of_item(windows.scored, item, "fault"))
    assert counting(windows) != before
    undo(windows)
    assert counting(windows) == before


def test_undo_of_a_part_keeps_a_window_that_was_marked_meanwhile(windows: Session) -> None:
    item = windows.items[0]
    mark_clip(windows, mark_of_item(windows.scored, item, "fault"))
    key = windows.scored.keys[item.rows[1]]
    add_mark(windows.path, Mark(clip=key, mark="normal", who="anna"))
    undo(windows)
    assert counting(windows) == {key: "normal"}


def test_a_window_alone_is_marked_itself(windows: Session) -> None:
    item = next(item for item in windows.items if len(item.rows) == 1)
    written = mark_clip(windows, mark_of_item(windows.scored, item, "fault"))
    assert written.clip == windows.scored.keys[item.row]
    assert (written.start_s, written.end_s) == (item.start_s, item.end_s), "as `detect mark` writes it"
    assert counting(windows) == {written.clip: "fault"}
    with pytest.raises(RequestError, match="times of its own"):
        mark_clip(windows, Mark(clip=written.clip, mark="fault", start_s=1.0, end_s=2.0))


def test_marks_without_effect_are_refused(session: Session, windows: Session) -> None:
    for mark, message in (
        (Mark(clip="other.wav", mark="fault"), "no recording of this store"),
        (Mark(clip=f"{CLIP}::hiss", mark="fault"), "generated anomaly"),
        (Mark(clip=CLIP, mark="normal", start_s=0.0, end_s=1.0), "no clip of the store lies at least half"),
    ):
        with pytest.raises(RequestError, match=message):
            mark_clip(session, mark)
    assert session.marks.items == ()
    with pytest.raises(RequestError, match="at least half"):
        mark_clip(windows, Mark(clip="fan/test/0.wav", mark="normal", start_s=1e6, end_s=2e6))


def test_a_part_after_the_end_of_its_recording_is_refused(windows: Session) -> None:
    with pytest.raises(RequestError, match="ends at 60 s, but the recording at 50 s"):
        mark_clip(windows, Mark(clip="fan/test/0.wav", mark="fault", start_s=20.0, end_s=60.0))
    assert mark_clip(windows, Mark(clip="fan/test/0.wav", mark="fault", start_s=20.0, end_s=40.0)).line == 1


def test_undo_leaves_null_bytes_of_an_earlier_version_out(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ensemble.marks.file.problem_of", lambda mark: "")
        append_mark(session.path, Mark(clip=CLIP, mark="fault", who="an\0na", note="kn\0ock"))
    mark_clip(session, Mark(clip=CLIP, mark="normal"))
    assert undo(session)
    assert session.marks.items[-1].note.endswith(": knock")


def test_a_damaged_file_loses_nothing(session: Session) -> None:
    mark_clip(session, Mark(clip=CLIP, mark="fault"))
    file = session.path / "marks.jsonl"
    damaged = file.read_bytes().replace(b"fault", b"fruit") + file.read_bytes()
    file.write_bytes(damaged)
    for change in (lambda: mark_clip(session, Mark(clip=CLIP, mark="normal")), lambda: undo(session)):
        with pytest.raises(StoreError, match="line 1"):
            change()
    assert file.read_bytes() == damaged
    assert len(session.undoable.marks) == 1, "it can be taken back when the file is restored"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store(session: Session) -> None:
    session.path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot write"):
        mark_clip(session, Mark(clip=CLIP, mark="fault"))
    session.path.chmod(0o700)
    assert not session.undoable.marks


def test_the_history_of_an_item(windows: Session) -> None:
    item = windows.items[0]
    keys = [windows.scored.keys[row] for row in item.rows]
    other = next(key for key in windows.scored.keys if key.startswith(item.recording) and key not in keys)
    for mark in (
        Mark(clip=item.recording, mark="ignore", who="a"),
        Mark(clip=other, mark="fault", who="b"),
        Mark(clip="fan/test/1.wav", mark="fault", who="c"),
        Mark(clip=item.recording, mark="none", who="d"),
        mark_of_item(windows.scored, item, "fault", who="e"),
        Mark(clip=keys[1], mark="normal", who="f"),
    ):
        append_mark(windows.path, mark)
    assert [mark.who for mark in history(windows.marks.items, windows.scored, item)] == ["f", "e", "d", "a"]
