"""Marks made in the page: those of `detect mark`, and the last one taken back.

Taking a mark back writes what held before: the earlier mark again, or `none`. Lines of the file are never removed, so
the history shows both. Clips that somebody else marked meanwhile keep that mark.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ensemble.marks.apply import marked_rows
from ensemble.marks.file import FAULT, MAX_TEXT, NONE, Mark, append_mark, read_marks
from ensemble.marks.recordings import beyond, latest_end
from ensemble.page.items import Item
from ensemble.page.scored import Scored
from ensemble.review.session import Session
from ensemble.review.undoable import Undoable
from featstore.clip import VARIANT_MARK, recording_of, window_of
from featstore.errors import RequestError
from featstore.table import ClipTable
from featstore.terminal.shown import printable

_UNDONE = re.compile(r"undo: as marked by .*? on \d{4}-[\d:T-]+Z(?:: |$)", re.DOTALL)
"""Begin of the note of a mark that holds again after an undo, see `_again`."""


def mark_clip(session: Session, mark: Mark) -> Mark:
    """Write a mark of a clip whose key is known; it is on disk when this returns.

    The same mark with the same note and name is not written again: the one that holds is returned. RequestError for a
    part that no clip lies in, or for a generated anomaly. Else the errors of `append_mark`.
    """
    mark = _timed(mark)
    tables = _tables(session, recording_of(mark.clip))
    _refuse_without_effect(mark, tables)
    if mark.end_s is not None and (problem := beyond(mark, latest_end(session.store, recording_of(mark.clip)))):
        raise RequestError(f"{printable(mark.clip)}: {problem}")
    with session.lock:
        counting = _by_key(read_marks(session.path).items, tables)
        present = [counting.get(key) for key in _by_key([_with_effect(mark)], tables)]
        if (same := present[0]) and all(map(partial(_is_same, mark), present)):
            return same
        removes_none = mark.mark == NONE and not counting
        written = append_mark(session.path, mark)
        if not removes_none:
            session.undoable.marks.append(written)
    return written


def _is_same(mark: Mark, present: Mark | None) -> bool:
    """Whether a mark says what the present one of a clip says already."""
    if present is None:
        return False
    names = ("clip", "start_s", "end_s", "mark", "who")
    same = all(getattr(mark, name) == getattr(present, name) for name in names)
    return same and mark.note in (present.note, given_note(present))


def undo(session: Session) -> Mark | None:
    """Take back the last mark made in this session that was not taken back; None where there is none.

    Returns that mark. RequestError where somebody else marked all its clips meanwhile: it is then no longer offered.
    """
    with session.lock:
        done = session.undoable
        if not done.marks:
            return None
        last, marks = done.marks[-1], read_marks(session.path).items
        tables = _tables(session, recording_of(last.clip))
        earlier = _by_key(_before(marks, last), tables)
        keys = _ours(marks, done, tables)
        for mark in _restoring(marks, last, {key: earlier.get(key) for key in keys}, tables):
            written = append_mark(session.path, replace(mark, who=session.who))
            done.restored |= {
                (written.checksum, key): done.original(earlier[key], key) for key in keys if key in earlier
            }
        done.marks.pop()
    if not keys:
        later = next((mark for mark in reversed(marks) if recording_of(mark.clip) == recording_of(last.clip)), None)
        raise RequestError(f"{printable(last.clip)} was marked again meanwhile ({later}); that mark is kept")
    return last


def words_now(session: Session, mark: Mark) -> list[str]:
    """The different marks that hold now for the clips of a mark, sorted; NONE for clips without one."""
    tables = _tables(session, recording_of(mark.clip))
    counting = _by_key(session.marks.items, tables)
    return sorted({counting[key].mark if key in counting else NONE for key in _by_key([_with_effect(mark)], tables)})


def given_note(mark: Mark) -> str:
    """The note that a person gave, without what an undo puts before it."""
    note = mark.note
    while undone := _UNDONE.match(note):
        note = note[undone.end() :]
    return note


def _before(marks: Sequence[Mark], last: Mark) -> Sequence[Mark]:
    """The marks before one of them."""
    return marks[: next((i for i, mark in enumerate(marks) if mark.checksum == last.checksum), len(marks))]


def _ours(marks: Sequence[Mark], done: Undoable, tables: Sequence[ClipTable]) -> list[str]:
    """Keys of the clips that nobody marked after the last mark of a session."""
    last = done.marks[-1]
    before, now = _before(marks, last), _by_key(marks, tables)
    held = _by_key([*before, last], tables)
    if last.mark == NONE:
        return [key for key in _by_key(before, tables) if key not in held and key not in now]
    own = [key for key, mark in held.items() if mark.checksum == last.checksum]
    return [key for key in own if key in now and done.original(now[key], key) == last.checksum]


def _restoring(
    marks: Sequence[Mark], last: Mark, earlier: Mapping[str, Mark | None], tables: Sequence[ClipTable]
) -> list[Mark]:
    """The marks that bring back the earlier mark of every key, None for no mark: one line where that does it.

    marks: all marks so far. tables: the clips of their recording.
    """
    if not earlier:
        return []
    wanted = {key: mark.mark for key, mark in _by_key(marks, tables).items() if key not in earlier}
    wanted |= {key: mark.mark for key, mark in earlier.items() if mark}
    single = _again(replace(last, line=0, checksum="", when="", note=""), next(iter(earlier.values())))
    if {key: mark.mark for key, mark in _by_key([*marks, single], tables).items()} == wanted:
        return [single]
    return [_again(_timed(Mark(clip=key, mark=NONE)), earlier[key]) for key in sorted(earlier, key=_wholes_first)]


def _again(target: Mark, earlier: Mark | None) -> Mark:
    """The earlier mark, of the clip or part that `target` names."""
    if earlier is None:
        return replace(target, mark=NONE, note="undo")
    note = f"undo: as marked by {earlier.who or 'nobody named'} on {earlier.when}"
    note += f": {earlier.note}" if earlier.note else ""
    return replace(target, mark=earlier.mark, note=note.replace("\0", "")[:MAX_TEXT])


def _wholes_first(key: str) -> tuple[bool, str]:
    """A mark of a recording also holds for its windows, so those are marked after it."""
    return window_of(key) is not None, key


def _refuse_without_effect(mark: Mark, tables: Sequence[ClipTable]) -> None:
    """RequestError where a mark would hold for no clip."""
    if VARIANT_MARK in mark.clip:
        raise RequestError(f"{printable(mark.clip)} is a generated anomaly, which has no mark")
    if not any(map(len, tables)):
        raise RequestError(f"{printable(mark.clip)} is no recording of this store")
    if not _by_key([_with_effect(mark)], tables):
        raise RequestError(
            f"no clip of the store lies at least half in that part of {printable(mark.clip)}; a recording that is "
            "stored as a whole can have a fault in a part, but be normal or ignored only as a whole"
        )


def _timed(mark: Mark) -> Mark:
    """A mark of a window has its times, as `detect mark` writes them; RequestError for other ones."""
    window = window_of(mark.clip)
    if window is None:
        return mark
    if mark.start_s is not None and (mark.start_s, mark.end_s) != window:
        raise RequestError(f"{printable(mark.clip)} is a window with times of its own; name the recording instead")
    return replace(mark, start_s=window.start_s, end_s=window.end_s)


def _with_effect(mark: Mark) -> Mark:
    """A mark that holds for the same clips and leaves a mark there."""
    return replace(mark, mark=FAULT) if mark.mark == NONE else mark


def _tables(session: Session, recording: str) -> list[ClipTable]:
    """The clips of a recording: those of the results; where these have none, those of the store, which is slower."""
    scored, store = session.scored, session.store
    tables = [of_recording(table, recording) for table in (scored.clips, scored.train)]
    if any(map(len, tables)):
        return tables
    return [of_recording(store.clips(name), recording) for name in sorted(store.embeddings)]


def of_recording(clips: ClipTable, recording: str) -> ClipTable:
    """The clips of a recording."""
    begin = np.char.startswith(clips.columns["path"], recording.encode("utf-8", "surrogateescape"))
    rows = np.flatnonzero(begin)
    kept = [row for row, name in zip(rows.tolist(), clips[rows].recordings(), strict=True) if name == recording]
    return clips[np.array(kept, dtype=np.intp)]


def _by_key(marks: Sequence[Mark], tables: Sequence[ClipTable]) -> dict[str, Mark]:
    """The mark that counts, by key."""
    counting: dict[str, Mark] = {}
    for clips in tables:
        keys, rows = clips.keys(), marked_rows(marks, clips)
        counting |= {keys[row]: mark for row, mark in rows.items()}
    return counting


def mark_of_item(scored: Scored, item: Item, word: str, *, who: str = "", note: str = "") -> Mark:
    """The mark of a whole item: of its clip, or of the part of its recording that an event of windows covers."""
    if len(item.rows) == 1 or item.end_s is None:
        return Mark(clip=scored.keys[item.row], mark=word, who=who, note=note)
    return Mark(clip=item.recording, mark=word, start_s=item.start_s, end_s=item.end_s, who=who, note=note)


def history(marks: Sequence[Mark], scored: Scored, item: Item) -> list[Mark]:
    """Every mark that any clip of an item ever had, the last one first."""
    recording = item.recording
    own = [mark for mark in marks if recording_of(mark.clip) == recording]
    if not own:
        return []
    clips = of_recording(scored.clips, recording)
    keys = clips.keys()
    wanted = {scored.keys[row] for row in item.rows}

    def holds(mark: Mark) -> bool:
        return any(keys[row] in wanted for row in marked_rows([_with_effect(mark)], clips))

    return [mark for mark in reversed(own) if holds(mark)]
