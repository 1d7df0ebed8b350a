"""The part verdicts of the page: marked clips, every mark that was made, and marks to and from other programs."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble.marks.apply import MarkedStore
from ensemble.marks.audacity import zipped
from ensemble.marks.exchange import import_marks, label_files
from ensemble.marks.file import FAULT, IGNORE, NONE, NORMAL, Mark, Marks
from ensemble.marks.lines import MAX_BYTES, Source
from ensemble.marks.listing import csv_bytes
from ensemble.page.cards import local_time
from ensemble.review.answer import json_answer, part, session_of
from ensemble.review.asked import number_in, posted, query_of
from ensemble.review.saved import FILE as THRESHOLDS
from ensemble.review.session import Session
from ensemble.windows.screen import clip_title, clock
from featstore.clip import place_of, recording_of
from featstore.errors import OptionError
from featstore.terminal.shown import counted, printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

SHOWN = 200
"""Most rows of a table on one page."""

LAST = 999_999_999

WORDS = {NORMAL: "normal", FAULT: "fault", IGNORE: "ignore", NONE: "removed"}
"""How the page names a mark; `none` is one that removed another."""

EFFECTS = {
    NORMAL: ("normal", "used as normal sound from the next run on"),
    FAULT: ("fault", "never used as normal sound"),
    IGNORE: ("ignored clip", "neither used nor scored from the next run on"),
}
"""A marked clip, and what its mark does."""

FOLLOWS = {
    NORMAL: "The clip is used as normal sound from the next run on. It is not scored then.",
    FAULT: "The clip is never used as normal sound. A run with --ensemble uses it to choose the detectors.",
    IGNORE: "The clip is neither used nor scored from the next run on.",
    NONE: "The earlier marks of the clip no longer count.",
}
"""What a mark does, in sentences."""


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [
        Route("/parts/verdicts", shown),
        Route("/verdicts/list", listed),
        Route("/verdicts/marks.csv", csv_file),
        Route("/verdicts/labels.zip", labels_file),
        Route("/verdicts/import", posted(imported, MAX_BYTES), methods=["POST"]),
    ]


def shown(request: "Request") -> "Response":
    """The part without its lists."""
    session = session_of(request)
    return part("verdicts.html", follows=FOLLOWS, words=WORDS, command=_command(session), store=_quoted(session.path))


def _command(session: Session) -> str:
    """The run that uses the marks, with the results and the thresholds of this page."""
    thresholds = session.results / THRESHOLDS
    given = f" --threshold {_quoted(thresholds)}" if thresholds.exists() else ""
    return f"detect {_quoted(session.path)} --ensemble -o {_quoted(session.results)}{given}"


def _quoted(path: Path) -> str:
    """A path as a shell reads it."""
    return shlex.quote(str(path))


@dataclass(frozen=True)
class Row:
    """A marked clip, or a mark of the history, as the page shows it.

    row: of the clip in the results, None where it is not among them. part: times of the marked part, "" for all of it.
    counts: whether it is the mark that counts for any clip.
    """

    title: str
    machine: str
    section: str
    part: str
    mark: Mark
    row: int | None
    key: str
    counts: bool = True


def listed(request: "Request") -> "Response":
    """The lists by the filters `mark`, `machine` and `who`; `offset` and `from` leave out so many rows of each."""
    session, query = session_of(request), query_of(request)
    marked = _marked(request)
    clips, history = _clips(session, marked), _history(session, marked)
    chosen = [row for row in clips if _fits(row, query)]
    past = [row for row in history if _fits(row, query)]
    offset, begin = (number_in(query, name, 0, 0, LAST) for name in ("offset", "from"))
    return part(
        "verdicts_list.html",
        effects=_effects(clips),
        words=WORDS,
        clips=chosen[offset : offset + SHOWN],
        chosen=len(chosen),
        offset=offset,
        history=past[begin : begin + SHOWN],
        past=len(past),
        begin=begin,
        size=SHOWN,
        machines=sorted({printable(row.machine) for row in history if row.machine}),
        persons=sorted({printable(row.mark.who) for row in history}),
        notes=marked.marks.notes,
        lost=marked.lost,
        local_time=local_time,
    )


def _effects(clips: Sequence[Row]) -> list[str]:
    """What the marks of all marked clips do: `5 normal: used as normal sound from the next run on`."""
    counts = Counter(row.mark.mark for row in clips)
    return [
        f"{counts[mark]:,} {noun}: {effect}" if mark == NORMAL else f"{counted(counts[mark], noun)}: {effect}"
        for mark, (noun, effect) in EFFECTS.items()
        if counts[mark]
    ]


def csv_file(request: "Request") -> "Response":
    """The marked clips as CSV."""
    return _download(csv_bytes(_marked(request)), "text/csv; charset=utf-8", "marks.csv")


def labels_file(request: "Request") -> "Response":
    """The marked clips as label files of Audacity in a zip archive."""
    return _download(zipped(label_files(_marked(request))), "application/zip", "labels.zip")


def _download(content: bytes, kind: str, name: str) -> "Response":
    from starlette.responses import Response

    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def imported(request: "Request", body: bytes) -> "Response":
    """Mark the clips of a file, whose name is `name`; `clip`: the recording of a label file."""
    session, query = session_of(request), query_of(request)
    name = query.get("name", "")
    if not name:
        raise OptionError("the name of the file is missing")
    result = import_marks(session.path, [Source(name, body, query.get("clip", ""))], session.who)
    return json_answer({"text": result.text, "written": result.written, "repeated": result.repeated})


def _marked(request: "Request") -> MarkedStore:
    """The store with its marks; made anew where these have changed."""
    session, state = session_of(request), request.app.state
    with session.lock:
        marks: Marks = session.marks
        known = getattr(state, "marked", None)
        if known is None or known.marks is not marks:
            state.marked = MarkedStore(session.store, marks)
        store: MarkedStore = state.marked
        return store


def _places(session: Session, store: MarkedStore, clips: set[str]) -> dict[str, tuple[str, str]]:
    """Machine and section by the path of a recording."""
    places: dict[str, tuple[str, str]] = {}
    for name in sorted(store.embeddings):
        table = session.store.clips(name)
        columns = (table.recordings(), table.column("machine").tolist(), table.column("section").tolist())
        places.update(
            (path, (machine, section)) for path, machine, section in zip(*columns, strict=True) if path in clips
        )
    return places


def _clips(session: Session, store: MarkedStore) -> list[Row]:
    """The marked clips by recording and time."""
    places = _places(session, store, {recording_of(key) for key in store.marked})
    row_of = {key: row for row, key in enumerate(session.scored.keys) if key in store.marked}
    keys = sorted(store.marked, key=lambda key: (*place_of(key), key))
    return [_row(key, store.marked[key], places, row_of.get(key)) for key in keys]


def _history(session: Session, store: MarkedStore) -> list[Row]:
    """Every mark that was made, the last one first."""
    marks = store.marks.items
    places = _places(session, store, {recording_of(mark.clip) for mark in marks})
    counting = {mark.checksum for mark in store.marked.values()}
    rows = [_row(mark.clip, mark, places, None, counts=mark.checksum in counting) for mark in marks]
    return rows[::-1]


def _row(key: str, mark: Mark, places: Mapping[str, tuple[str, str]], row: int | None, *, counts: bool = True) -> Row:
    machine, section = places.get(recording_of(key), ("", ""))
    given = mark.start_s is not None and recording_of(key) == key
    span = f"{clock(mark.start_s)} to {clock(mark.end_s)}" if given else ""
    return Row(clip_title(key), machine, section, span, mark, row, key, counts)


def _fits(row: Row, query: Mapping[str, str]) -> bool:
    wanted: Sequence[tuple[str, str]] = (("mark", row.mark.mark), ("machine", row.machine), ("who", row.mark.who))
    return all(query.get(name, "") in ("", printable(value)) for name, value in wanted)
