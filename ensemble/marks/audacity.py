"""Marks as label files of Audacity: one text file for each recording, with `start<TAB>end<TAB>text` in seconds.

    0.000000<TAB>10.000000<TAB>fault: a knock
    12.5<TAB>14<TAB>normal

A label file has the name of its recording and `.txt`. Characters that no file system takes, or that leave a folder, are
replaced by `_` in it; an import knows which recording that was.
"""

import hashlib
import io
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ensemble.marks.file import Mark
from featstore.clip import recording_of
from featstore.errors import DataError
from featstore.layouts.csv_text import decoded
from featstore.terminal.shown import printable

SUFFIX = ".txt"
LONGEST = 200
"""Most bytes of a part of a label file's name."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
ENCRYPTED = 1
"""Bit of a file in a zip archive."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError, OSError)
"""What reading a damaged archive raises; RuntimeError also where its method of compression is unknown."""

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


class Label(NamedTuple):
    """A line of a label file: its number, start and end in seconds, and text."""

    line: int
    start_s: float
    end_s: float
    text: str


def read_labels(content: bytes) -> Iterator[Label | str]:
    """The labels of a file in order; a text says what is wrong with a line and names it.

    Lines that begin with a backslash hold the frequencies of the label before them and are read over.
    """
    try:
        text = decoded(content)
    except UnicodeDecodeError:  # half a character
        text = "\0"
    if "\x00" in text:
        yield "has null bytes: it is no text in UTF-8, or in UTF-16 with a byte order mark"
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        cells = line.rstrip("\r").split("\t", 2)
        times = [parsed_seconds(cell) for cell in cells[:2]]
        if len(cells) < 3 or None in times:
            yield f"line {number}: expected start, end and text with tabs between them, got {printable(line[:60])!r}"
            continue
        start, end = (time or 0.0 for time in times)
        yield Label(number, start, end, cells[2].strip())


def parsed_seconds(cell: str) -> float | None:
    """The seconds that a cell holds, with a decimal point or comma; None for anything else, and for negative ones."""
    text = cell.strip()
    try:
        value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 and "_" not in text else None


def label_line(start_s: float, end_s: float, mark: Mark) -> str:
    """A mark as a line of a label file."""
    note = " ".join(mark.note.replace("\0", "").split())
    return f"{start_s:.6f}\t{end_s:.6f}\t{mark.mark}{f': {note}' if note else ''}\n"


def file_names(recordings: Iterable[str]) -> dict[str, str]:
    """Name of the label file, without its suffix, by recording; each is a path below the folder it is written to."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for recording in sorted(recordings):
        parts = [_safe(part) for part in recording.split("/") if part not in ("", ".")]
        name = "/".join(parts) or "_"
        if name.casefold() in taken:
            name += f"~{_digest(recording)}"
        taken.add(name.casefold())
        names[recording] = name
    return names


def _safe(part: str) -> str:
    name = _UNSAFE.sub("_", part).rstrip(". ") or "_"
    if set(name) == {"."} or _RESERVED.fullmatch(name):
        name = f"_{name}"
    encoded = name.encode("utf-8")
    return name if len(encoded) <= LONGEST else f"{encoded[:LONGEST].decode('utf-8', 'ignore')}~{_digest(part)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def stem(name: str) -> str:
    """A name without the suffix of the recording: `fan/a` of `fan/a.wav`."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix else name


def label_files(
    marked: Mapping[str, Mark],
    clips: Mapping[str, Sequence[tuple[str, float, float]]],
    names: Mapping[str, str],
    reach: Callable[[Mark], int],
) -> dict[str, bytes]:
    """Content of the label file of every recording with a mark, by its name.

    marked: the mark that counts, by key. clips: key, start and end of every clip of a recording, in seconds. names: see
    `file_names`. reach: number of clips that a mark was made for; one that still counts for all of them is one line,
    else every clip has its own.
    """
    files = {}
    for recording in sorted({recording_of(key) for key in marked}):
        of_mark: dict[str, tuple[Mark, list[tuple[float, float]]]] = {}
        for key, start, end in clips.get(recording, ()):
            if key in marked:
                of_mark.setdefault(marked[key].checksum, (marked[key], []))[1].append((start, end))
        lines = []
        for mark, spans in of_mark.values():
            if len(spans) == reach(mark):
                whole = (min(start for start, _ in spans), max(end for _, end in spans))
                given = mark.start_s is not None and mark.end_s is not None
                spans = [(mark.start_s or 0.0, mark.end_s or 0.0) if given else whole]
            lines += [(start, end, label_line(start, end, mark)) for start, end in spans]
        files[names[recording] + SUFFIX] = "".join(line for _, _, line in sorted(lines)).encode("utf-8", "replace")
    return files


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The files as a zip archive, the same for the same files."""
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _FIRST_DATE), content, zipfile.ZIP_DEFLATED)
    return image.getvalue()


def unzipped(name: str, content: bytes, *, most_files: int, most_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the text and CSV files of a zip archive; DataError for one that is damaged or too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if len(infos) > most_files:
                raise DataError(f"{name}: {len(infos):,} files; at most {most_files:,} are read")
            left = most_bytes
            for info in infos:
                if info.flag_bits & ENCRYPTED:
                    raise DataError(f"{name}: {printable(info.filename)} is encrypted; import it without a password")
                with archive.open(info) as file:
                    data = file.read(left + 1)
                left -= len(data)
                if left < 0:
                    raise DataError(f"{name}: more than {most_bytes:,} bytes when unpacked")
                yield info.filename, data
    except _DAMAGE as error:
        raise DataError(f"{name}: not a zip archive that can be read: {error}") from error
