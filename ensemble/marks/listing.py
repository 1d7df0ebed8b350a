"""Lists of the marked clips of a store, as rows, CSV and JSON; and new marks."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ensemble.marks.apply import MarkedStore, marked_keys
from ensemble.marks.file import FAULT, NONE, Mark, append_mark, read_marks
from ensemble.marks.names import marked_key
from ensemble.marks.recordings import beyond, latest_end
from featstore.clip import place_of, window_of
from featstore.disk.files import write_checked
from featstore.errors import OptionError, RequestError
from featstore.reader import FeatureStore

COLUMNS = ("clip", "label", "start_s", "end_s", "who", "when", "note")


def opened(path: Path) -> MarkedStore:
    """The store at `path` with all its marks."""
    return MarkedStore(FeatureStore.open(path), read_marks(path))


class Written(NamedTuple):
    """A written mark, the number of clips that it holds for, and notes on the file before it."""

    mark: Mark
    clips: int
    notes: tuple[str, ...]


def add_mark(path: Path, mark: Mark) -> Written:
    """Write a mark of a clip of the store at `path`, named by its key or its file name.

    DataError for a clip that the store lacks, OptionError for times of a clip that has its own, and RequestError for a
    part of a recording that no clip of the store lies in, or that ends after the recording.
    """
    store = FeatureStore.open(path)
    key = marked_key(store, mark.clip)
    window = window_of(key)
    if window and mark.start_s is not None:
        raise OptionError(f"{key!r} is a window with times of its own; name the recording to mark a part of it")
    times = window or (mark.start_s, mark.end_s)
    named = replace(mark, clip=key, start_s=times[0], end_s=times[1])
    held = marked_keys(store, (named if named.mark != NONE else replace(named, mark=FAULT),))
    if not held:
        raise RequestError(
            f"no clip of {path} lies at least half in that part of {key!r}; a recording that is stored as a whole can "
            "have a fault in a part, but be normal or ignored only as a whole: leave --start and --end out"
        )
    if named.end_s is not None and (problem := beyond(named, latest_end(store, key))):
        raise RequestError(f"{key!r}: {problem}")
    notes = read_marks(path).notes
    return Written(append_mark(path, named), len(held), notes)


def rows_of(store: MarkedStore) -> Iterator[list[str | float | None]]:
    """One row of COLUMNS for every marked clip, by recording and time; times of the window, or of the marked part."""
    for key, mark in sorted(store.marked.items(), key=lambda item: (*place_of(item[0]), item[0])):
        times = window_of(key) or (mark.start_s, mark.end_s)
        yield [key, mark.mark, *times, mark.who, mark.when, mark.note]


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that begins so for a formula, or may."""


def csv_bytes(store: MarkedStore) -> bytes:
    """The rows as CSV in UTF-8, which `detect select --faults` takes, and which a spreadsheet shows as text.

    A note or name that a spreadsheet would take for a formula begins with an apostrophe, which an import takes away; so
    does one that begins with an apostrophe. The path of such a clip begins with `./`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip, label, start_s, end_s, *free in rows_of(store):
        path = f"./{clip}" if str(clip).startswith(FORMULA) else clip
        writer.writerow([path, label, start_s, end_s, *map(_harmless, free)])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _harmless(cell: object) -> str:
    text = without_nulls(str(cell))
    return f"'{text}" if text.startswith((*FORMULA, "'")) else text


def without_nulls(text: str) -> str:
    """A text without its null bytes, which an import refuses; marks of an earlier version may have some."""
    return text.replace("\0", "")


def original(cell: str) -> str:
    """The text of a cell of `csv_bytes`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA, "'")) else cell


def write_csv(store: MarkedStore, path: Path) -> None:
    """Write the rows as CSV, see `csv_bytes`."""
    write_checked(path, csv_bytes(store))


def as_json(store: MarkedStore) -> dict[str, Any]:
    """Every marked clip, and every mark in order."""
    clips = [dict(zip(COLUMNS, row, strict=True)) for row in rows_of(store)]
    return {"clips": clips, "marks": [mark.as_json() for mark in store.marks.items]}
