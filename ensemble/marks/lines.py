"""The lines of files with marks: CSV as `detect marks --csv` writes it, and label files of Audacity.

A line is a mark of a recording of the store, or a text that says what does not fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from ensemble.marks import audacity
from ensemble.marks.file import FAULT, LATEST_S, NONE, Mark, problem_of
from ensemble.marks.listing import original
from ensemble.marks.recordings import SLACK_S, Recordings, beyond
from ensemble.marks.words import EXPECTED, mark_of, text_mark
from featstore.clip import recording_of, window_of
from featstore.errors import DataError
from featstore.layouts.csv_text import content_rows, decoded
from featstore.layouts.names import several
from featstore.terminal.shown import printable

MAX_BYTES = 1 << 24
"""Larger files are refused."""

MAX_LINES = 100_000
"""Most lines of a file."""

MAX_FILES = 10_000
"""Most files of a zip archive."""

NEAR_S = 0.1
"""A label that ends so near to the end of a recording holds for all of it."""

HEADER = ("clip", "label")


class Source(NamedTuple):
    """A file to import: its name, its content, and the recording that it labels where its name does not say so."""

    name: str
    content: bytes
    clip: str = ""


class Line(NamedTuple):
    """A mark of a file, and where it stands. dated: whether its person and time are those of the file."""

    where: str
    mark: Mark
    dated: bool


def lines_of(source: Source, places: Recordings, who: str) -> Iterator[Line | str]:
    """The marks of a file, or what is wrong with a line."""
    name, shown = source.name.lower(), printable(source.name)
    if len(source.content) > MAX_BYTES:
        raise DataError(f"{shown}: more than {MAX_BYTES:,} bytes; divide the file")
    if not name.endswith(".zip") and max(map(source.content.count, (b"\n", b"\r"))) > MAX_LINES:
        raise DataError(f"{shown}: more than {MAX_LINES:,} lines; divide the file")
    if name.endswith(".zip"):
        files = audacity.unzipped(shown, source.content, most_files=MAX_FILES, most_bytes=4 * MAX_BYTES)
        for member, content in files:
            if not member.lower().endswith(".zip"):
                yield from lines_of(Source(member, content), places, who)
    elif name.endswith((".csv", ".tsv")):
        yield from _csv_lines(shown, source.content, places)
    elif name.endswith(audacity.SUFFIX):
        yield from _label_lines(source, places, who)
    else:
        yield f"{shown}: expected a .csv file, label files of Audacity (.txt), or a .zip of them"


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv_lines(shown: str, content: bytes, places: Recordings) -> Iterator[Line | str]:
    rows = content_rows(content, shown)
    if "\0" in decoded(content):
        yield f"{shown}: has null bytes: it is no CSV in UTF-8, or in UTF-16 with a byte order mark"
        return
    header = [column.strip().lower() for column in rows[0][1]]
    missing = [column for column in HEADER if column not in header]
    if missing:
        got = printable(",".join(header)[:80])
        expected = f"expected a header as of `detect marks --csv`, got {got!r}"
        yield f"{shown}: the first line lacks the column {missing[0]!r}; {expected}"
        return
    for number, row in rows[1:]:
        where = f"{shown}, line {number}"
        if len(row) != len(header):
            yield f"{where}: expected {len(header)} columns, got {len(row)}"
            continue
        cells = dict(zip(header, row, strict=True))
        try:
            yield Line(where, _csv_mark(cells, places), dated=bool(cells.get("when")))
        except ValueError as error:
            yield f"{where}: {printable(str(error))}"


def _csv_mark(cells: dict[str, str], places: Recordings) -> Mark:
    """The mark of a row; ValueError says what does not fit."""
    key = _one(places.names.fitting(_exact(cells["clip"], places)), cells["clip"], places)
    word = mark_of(cells["label"])
    if word is None:
        raise ValueError(f"the label {cells['label'][:40]!r}; expected {EXPECTED}")
    times = [_time(cells.get(name, ""), name) for name in ("start_s", "end_s")]
    window = window_of(key)
    if window:
        if times not in ([None, None], [window.start_s, window.end_s]):
            raise ValueError(
                f"{key!r} is a window from {window.start_s:g} s to {window.end_s:g} s; leave its times away"
            )
        times = [window.start_s, window.end_s]
    when = cells.get("when", "").strip()
    if when:
        _check_date(when)
    who, note = (original(cells.get(name, "")) for name in ("who", "note"))
    mark = Mark(clip=key, mark=word, start_s=times[0], end_s=times[1], who=who, when=when, note=note)
    if not places.table.held(mark):
        raise ValueError(f"no clip of the store lies at least half in that part of {key!r}")
    return _writable(mark, places)


def _writable(mark: Mark, places: Recordings) -> Mark:
    """A mark that can be written; ValueError says why it cannot."""
    problem = problem_of(mark) or beyond(mark, places.latest(mark.clip))
    if problem:
        raise ValueError(problem)
    return mark


def _exact(clip: str, places: Recordings) -> str:
    """The name of a clip without the `./` that an export puts before one that a spreadsheet takes for a formula."""
    return clip[2:] if clip.startswith("./") and clip[2:] in places.names.keys else clip


def _one(fitting: Sequence[str], name: str, places: Recordings) -> str:
    if len(fitting) == 1:
        return fitting[0]
    what = several(fitting, "recordings") if fitting else f"is no recording of {places.store.path}"
    raise ValueError(f"{name[:200]!r} {what}")


def _time(cell: str, name: str) -> float | None:
    if not cell.strip():
        return None
    seconds = audacity.parsed_seconds(cell)
    if seconds is None:
        raise ValueError(f"{name} {cell[:40]!r} is no time in seconds")
    return seconds


def _check_date(when: str) -> None:
    try:
        if len(when) <= 40 and datetime.fromisoformat(when).tzinfo:
            return
    except ValueError:
        pass
    raise ValueError(f"when {when[:40]!r}; expected a time as 2026-05-03T10:00:00Z")


# --- label files ------------------------------------------------------------------------------------------------------


def _label_lines(source: Source, places: Recordings, who: str) -> Iterator[Line | str]:
    shown = printable(source.name)
    try:
        fitting = places.names.fitting(source.clip) if source.clip else places.of_label_file(source.name)
        recording = recording_of(_one(fitting, source.clip or source.name, places))
    except ValueError as error:
        yield f"{shown}: {printable(str(error))}; a label file is named like its recording, as a.txt or a.wav.txt"
        return
    for label in audacity.read_labels(source.content):
        if isinstance(label, str):
            yield f"{shown}, {label}" if label.startswith("line") else f"{shown}: {label}"
            continue
        where = f"{shown}, line {label.line}"
        meaning = text_mark(label.text)
        if meaning is None:
            yield f"{where}: the label {printable(label.text[:40])!r}; expected {EXPECTED}, and a note after a colon"
            continue
        try:
            mark = Mark(clip=recording, mark=meaning[0], who=who, note=meaning[1])
            yield Line(where, _writable(_placed(mark, label, places), places), dated=False)
        except ValueError as error:
            yield f"{where}: {printable(str(error))}"


def _placed(mark: Mark, label: audacity.Label, places: Recordings) -> Mark:
    """The mark of a label: of the whole recording, of a part, or of the window that a short fault lies in."""
    start, end = label.start_s, label.end_s
    if end < start:
        raise ValueError(f"it ends at {end:g} s, before its start at {start:g} s")
    spans = places.spans[mark.clip]
    first, last = min(span[1] for span in spans), max(span[2] for span in spans)
    stored_whole = len(spans) == 1 and window_of(spans[0][0]) is None
    if end > LATEST_S or (stored_whole and 0 < last < end - SLACK_S):
        known = f"the recording at {last:g} s" if stored_whole and last else f"the latest time is {LATEST_S:,.0f} s"
        raise ValueError(f"it ends at {end:g} s, but {known}")
    if start == end == 0 or (start <= first + NEAR_S and end >= last - NEAR_S > 0):
        return mark
    if start < end:
        part = replace(mark, start_s=start, end_s=end)
        if places.table.held(part):
            return part
    elif stored_whole and mark.mark in (FAULT, NONE):
        return mark
    if stored_whole:
        raise ValueError(f"a recording that is stored as a whole can be {mark.mark} only as a whole, 0 to {last:g} s")
    shared = [(min(end, span[2]) - max(start, span[1]), -abs(span[1] + span[2] - start - end), span) for span in spans]
    overlap, _, span = max(shared)
    if mark.mark != FAULT or overlap < 0:
        raise ValueError(f"no window lies at least half in {start:g} s to {end:g} s; only a fault may be shorter")
    return replace(mark, clip=span[0], start_s=span[1], end_s=span[2])
