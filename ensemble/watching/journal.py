"""The journal of a watch: JSON lines with checksums, in segments; it holds the results and the state of the watch.

    JOURNAL/lock                     one watch at a time
    JOURNAL/000001_2026-10.jsonl     closed segments: past results; they are not read again
    JOURNAL/000002_2026-11.jsonl     the current segment

A segment begins with the complete state (a checkpoint), so a start reads only the newest one. A new segment is begun
with a new month, and when SEGMENT_BYTES were added to the current one. It appears with its whole checkpoint, because it
is renamed into place. A record is durable before `add` returns; an incomplete last line, left by a crash, is cut off
when the journal is opened.
"""

import os
import re
import time
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ensemble.watching.state import CHECKPOINT, Record, State
from featstore.disk.files import TEMPORARY_SUFFIX, explained, make_folder, read_regular, write_checked
from featstore.disk.lock import StoreLock
from featstore.disk.sealed import canonical, seal, unseal
from featstore.errors import StoreError
from featstore.terminal.shown import counted

SEGMENT_BYTES = 64 << 20
MAX_BYTES = 2 << 30
_SEGMENT = re.compile(r"(\d{6,})_\d{4}-\d{2}\.jsonl")
_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

Say = Callable[[str], None]


class Journal:
    """The journal in `folder`, created where there is none and locked until it is closed.

    state: what follows from all records. wall: the clock, Unix time. Raises StoreError if another watch uses the
    folder, or the journal cannot be read.
    """

    def __init__(self, folder: Path, *, say: Say, wall: Callable[[], float] = time.time) -> None:
        self.folder, self.say, self.wall = folder, say, wall
        self.state = State()
        with explained(str(folder), 0, folder.parent):
            make_folder(folder)
        self._lock = StoreLock(folder)
        self._file, self._size, self._checkpoint = -1, 0, 0
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def add(self, *records: Record, durable: bool = True) -> None:
        """Append records and apply them to the state; `durable` waits for the disk.

        Raises ResourceError on a full disk; the journal is then as before.
        """
        self._lock.check()
        data = b"".join(map(line, records))
        with explained(str(self.path), len(data), self.folder):
            try:
                _write(self._file, data)
                if durable:
                    os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._size)
                raise
        self._size += len(data)
        for record in records:
            self.state.apply(record)

    def turn(self, present: Container[str]) -> bool:
        """Begin a new segment if it is due, and return whether; `present`: paths of the files that exist."""
        is_long = self._size - self._checkpoint >= max(SEGMENT_BYTES, self._checkpoint)
        if self.path.stem.endswith(f"_{self._month()}") and not is_long:
            return False
        self.state.forget(present)
        self._begin(_number(self.path) + 1)
        return True

    def close(self) -> None:
        """Close and unlock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._lock.release()

    def _open(self) -> None:
        for left in self.folder.glob(f"*.jsonl.*{TEMPORARY_SUFFIX}"):  # of a segment whose beginning was interrupted
            left.unlink()
        segments = sorted((path for path in self.folder.iterdir() if _SEGMENT.fullmatch(path.name)), key=_number)
        if not segments:
            self._begin(1)
            return
        self.path = segments[-1]
        whole = self._read(read_regular(self.path, MAX_BYTES))
        self._append_from(whole)

    def _read(self, data: bytes) -> int:
        """Apply the records of a segment; returns the number of bytes before an incomplete end."""
        whole = position = between = 0
        damaged: list[int] = []
        for number, text in enumerate(data.splitlines(keepends=True), 1):
            position += len(text)
            record = _record(text)
            if record is None:
                damaged.append(number)
                continue
            if record["kind"] in CHECKPOINT and self._checkpoint == whole:
                self._checkpoint = position
            self._take_in(record, number)
            whole, between = position, len(damaged)
        if not whole:
            raise StoreError(f"{self.path} holds no valid record; move it away, and the segment before it is used")
        for number in damaged[:between]:
            self.say(f"{self.path}, line {number}: damaged, left out; a file that it named is scored again")
        if len(data) > whole:
            self.say(
                f"{self.path}: cut off {counted(len(data) - whole, 'byte')} of a record that a crash left unfinished"
            )
        return whole

    def _take_in(self, record: Record, number: int) -> None:
        try:
            self.state.apply(record)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise StoreError(f"{self.path}, line {number} is no record of this format ({reason:.200})") from error

    def _begin(self, number: int) -> None:
        data = b"".join(map(line, self.state.checkpoint()))
        path = self.folder / f"{number:06d}_{self._month()}.jsonl"
        write_checked(path, data)
        self.path, self._checkpoint = path, len(data)
        self._append_from(len(data))

    def _append_from(self, size: int) -> None:
        """Append to `path` from now on, after its first `size` bytes."""
        if self._file >= 0:
            os.close(self._file)
        with explained(str(self.path), 0, self.folder):
            self._file, self._size = os.open(self.path, _FLAGS), size
            if os.fstat(self._file).st_size != size:
                os.ftruncate(self._file, size)
                os.fsync(self._file)

    def _month(self) -> str:
        return datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m")


def line(record: Record) -> bytes:
    """A record as a line with its checksum; ValueError or TypeError for values that JSON lacks, such as NaN."""
    return canonical(seal(record)) + b"\n"


def read_records(folder: Path) -> Iterable[Record]:
    """Every valid record of every segment, oldest first; for reports and tests, also while a watch is running."""
    for path in sorted((path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)), key=_number):
        for text in read_regular(path, MAX_BYTES).splitlines(keepends=True):
            record = _record(text)
            if record is not None:
                yield record


def _record(text: bytes) -> Record | None:
    try:
        return unseal(text) if text.endswith(b"\n") else None
    except ValueError:
        return None


def _number(path: Path) -> int:
    match = _SEGMENT.fullmatch(path.name)
    return int(match[1]) if match else 0


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
