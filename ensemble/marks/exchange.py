"""Marks to and from other programs: CSV as `detect marks --csv` writes it, and label files of Audacity.

An import is all or nothing: every line that does not fit is named, and then nothing is written. A mark that the store
already has is not repeated, so importing a file twice adds nothing; one that was taken back since is added again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble.marks import audacity
from ensemble.marks.apply import MarkedStore
from ensemble.marks.file import NONE, Mark, append_marks
from ensemble.marks.lines import MAX_BYTES, Line, Source, lines_of
from ensemble.marks.listing import opened, without_nulls
from ensemble.marks.recordings import Recordings
from featstore.clip import recording_of, window_of
from featstore.disk.files import make_folder, write_checked
from featstore.errors import AsdError, DataError, reason_of
from featstore.terminal.shown import counted, printable

MAX_MARKS = 50_000
"""Most marks of an import."""

NAMED = 20
"""Most lines that a message names."""

ENDINGS = (".csv", ".tsv", ".txt", ".zip")


@dataclass(frozen=True)
class Imported:
    """Number of marks that an import wrote, and of those that the store already had."""

    written: int
    repeated: int

    @property
    def text(self) -> str:
        """What was written, in words."""
        had = f"; {counted(self.repeated, 'mark')} already in the store" if self.repeated else ""
        return f"{counted(self.written, 'mark')} written{had}"


def sources(paths: Sequence[Path]) -> list[Source]:
    """The files at paths, and those in folders with one of ENDINGS; DataError for one that cannot be read."""
    found: list[Source] = []
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(path).as_posix() if path.is_dir() else str(path)
            try:
                with file.open("rb") as opened_file:
                    found.append(Source(name, opened_file.read(MAX_BYTES + 1)))
            except OSError as error:
                raise DataError(f"{file}: {reason_of(error)}") from error
    return found


def import_marks(path: Path, sources: Sequence[Source], who: str = "") -> Imported:
    """Write the marks of files to the store at `path`; `who`: who made those of label files.

    DataError names every line that does not fit, up to NAMED, and then nothing is written. AsdError where there is no
    mark at all.
    """
    store = opened(path)
    places = Recordings(store)
    lines: list[Line | str] = []
    for source in sources:
        for line in lines_of(source, places, who):
            lines.append(line)
            if len(lines) > MAX_MARKS:
                raise DataError(f"{source.name}: more than {MAX_MARKS:,} marks in one import; divide it")
    good = [line for line in lines if not isinstance(line, str)]
    problems = [line for line in lines if isinstance(line, str)] + list(_contradictions(good))
    if problems:
        rest = len(problems) - NAMED
        more = [f"and {rest:,} more lines"] if rest > 0 else []
        raise DataError("nothing was imported:", details=[*problems[:NAMED], *more])
    if not good:
        names = ", ".join(printable(source.name) for source in sources[:NAMED])
        raise AsdError(f"no marks found in {names or 'these files'}; nothing was imported")
    new = _new(store, places, good)
    append_marks(path, new)
    return Imported(len(new), len(good) - len(new))


def label_files(store: MarkedStore) -> dict[str, bytes]:
    """The marks that count as label files, by name; see `ensemble.marks.audacity`."""
    places = Recordings(store)
    return audacity.label_files(
        store.marked, places.spans, places.label_names, lambda mark: len(places.table.held(mark))
    )


def write_labels(store: MarkedStore, folder: Path) -> int:
    """Write the label files below a folder; their number. Files of the same name are replaced, others stay."""
    files = label_files(store)
    for name, content in files.items():
        path = folder / name
        make_folder(path.parent)
        write_checked(path, content)
    return len(files)


def _contradictions(lines: Sequence[Line]) -> Iterator[str]:
    """Lines that say something else of the same part of a clip than an earlier line."""
    first: dict[tuple[object, ...], Line] = {}
    for line in lines:
        earlier = first.setdefault((line.mark.clip, line.mark.start_s, line.mark.end_s), line)
        if earlier.mark.mark != line.mark.mark:
            clip = printable(line.mark.clip)
            yield f"{line.where}: {clip} is {line.mark.mark}, but {earlier.mark.mark} in {earlier.where}; remove one"


def _identity(mark: Mark, dated: bool) -> tuple[object, ...]:
    own = (mark.clip, mark.mark, mark.start_s, mark.end_s, _note(mark, dated))
    return (*own, without_nulls(mark.who), mark.when) if dated else own


def _note(mark: Mark, dated: bool) -> str:
    """The note as an export has it; label files have no lines in it."""
    note = without_nulls(mark.note)
    return note if dated else " ".join(note.split())


def _new(store: MarkedStore, places: Recordings, lines: Sequence[Line]) -> list[Mark]:
    """The marks that the store does not have; each once."""
    made: dict[tuple[object, ...], int] = {}
    taken_back: dict[str, int] = {}
    for number, mark in enumerate(store.marks.items):
        if mark.mark == NONE:
            taken_back[recording_of(mark.clip)] = number
        for dated in (False, True):
            made[_identity(mark, dated)] = number
    new: dict[tuple[object, ...], Mark] = {}
    for line in lines:
        identity = _identity(line.mark, line.dated)
        is_made = made.get(identity, -1) > taken_back.get(recording_of(line.mark.clip), -1)
        if not is_made and not _counts(store, places, line):
            new.setdefault(identity, line.mark)
    return list(new.values())


def _counts(store: MarkedStore, places: Recordings, line: Line) -> bool:
    """Whether the clips that a mark holds for have it already, as part of another one too."""
    mark = line.mark
    keys = [places.table.keys[row] for row in places.table.held(mark)]
    if mark.mark == NONE:
        return not any(key in store.marked for key in keys)
    return all(_same(store.marked.get(key), line, key) for key in keys)


def _same(own: Mark | None, line: Line, key: str) -> bool:
    """Whether a clip's mark is that of a line; the part of a recording matters where it is stored as a whole."""
    mark = line.mark
    if own is None or (own.mark, _note(own, line.dated)) != (mark.mark, _note(mark, line.dated)):
        return False
    if line.dated and (without_nulls(own.who), own.when) != (mark.who, mark.when):
        return False
    return window_of(key) is not None or (own.start_s, own.end_s) == (mark.start_s, mark.end_s)
