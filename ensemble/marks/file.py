"""The file STORE/marks.jsonl: one mark a line, in the order of marking; lines are added and never changed.

Every line is a JSON object with its own checksum and that of the line before it. So a line that was changed, removed or
moved is detected, except for lines that are missing at the end: a recipe that records a later checksum shows these.
`featstore/FORMAT.md` defines the format.

A crash may leave the last line incomplete. Its mark was not acknowledged: readers ignore and report it, and the next
mark is written in its place. The incomplete bytes are kept in STORE/marks.torn.
"""

import errno
import io
import math
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featstore.disk.files import check_space, explained, read_regular, sync_directory, write_new
from featstore.disk.sealed import canonical, seal, typed, unseal
from featstore.errors import OptionError, StoreError
from featstore.spec import unknown
from featstore.terminal.shown import printable

FILE, TORN = "marks.jsonl", "marks.torn"
VERSION = 1

NORMAL, FAULT, IGNORE, NONE = "normal", "fault", "ignore", "none"
MARKS = (NORMAL, FAULT, IGNORE, NONE)
"""The marks of a clip; `none` removes an earlier one."""

MAX_BYTES = 1 << 26
"""Larger files are refused; about 200,000 marks of 320 bytes fit."""

MAX_TEXT = 4000
"""Most characters of a note or a name."""

LATEST_S = 1e9
"""Latest time of a part that can be marked."""

WAIT_S = 10.0
"""Longest wait for another process that writes a mark."""

_FIELDS = frozenset(("version", "clip", "start_s", "end_s", "mark", "who", "when", "note", "previous", "checksum"))


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a person heard in a clip, or from `start_s` up to `end_s` of it, in seconds from its beginning.

    clip: key of a recording or a window, or path of a recording that is stored as windows. mark: one of MARKS. when:
    UTC, ISO 8601. line, checksum: of its line in the file; 0 and empty before it is written.
    """

    clip: str
    mark: str
    start_s: float | None = None
    end_s: float | None = None
    who: str = ""
    when: str = ""
    note: str = ""
    line: int = 0
    checksum: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for values that no mark has."""
        if self.mark not in MARKS:
            raise ValueError(unknown("mark", self.mark, MARKS))
        if (self.start_s is None) != (self.end_s is None):
            raise ValueError("a part of a recording needs both its start and its end")
        if self.start_s is not None and self.end_s is not None and not 0 <= self.start_s < self.end_s < math.inf:
            raise ValueError(f"the part from {self.start_s:g} s to {self.end_s:g} s is empty or starts before 0")
        for name in ("who", "note"):
            if len(getattr(self, name)) > MAX_TEXT:
                raise ValueError(f"{name} has {len(getattr(self, name)):,} characters; the limit is {MAX_TEXT:,}")
        for text in (self.clip, self.who, self.when, self.note):
            text.encode("utf-8", "surrogateescape")

    def as_json(self) -> dict[str, Any]:
        """The values given by a person, and the time."""
        names = ("clip", "start_s", "end_s", "mark", "who", "when", "note")
        values = {name: getattr(self, name) for name in names}
        return {name: float(value) if isinstance(value, int) else value for name, value in values.items()}

    def __str__(self) -> str:
        return printable(f"{FILE} line {self.line}, {self.mark} by {self.who or 'nobody named'} on {self.when}")


def problem_of(mark: Mark) -> str:
    """Why a mark cannot be written, "" where it can; the file may have such marks of an earlier version."""
    if mark.end_s is not None and mark.end_s > LATEST_S:
        return f"the part ends at {mark.end_s:g} s; the latest time is {LATEST_S:,.0f} s"
    name = next((name for name in ("clip", "who", "note") if "\0" in getattr(mark, name)), "")
    return f"{name} has a null byte; remove it" if name else ""


@dataclass(frozen=True)
class Marks:
    """All marks of a store in order. intact: bytes of their lines. torn: the incomplete last line after them."""

    items: tuple[Mark, ...] = ()
    intact: int = 0
    torn: bytes = b""

    @property
    def head(self) -> str:
        """Checksum of the last mark, which stands for all marks; empty without any."""
        return self.items[-1].checksum if self.items else ""

    def until(self, checksum: str) -> "Marks | None":
        """The marks up to the one with a checksum; None where there is no such mark."""
        for i, mark in enumerate(self.items):
            if mark.checksum == checksum:
                return Marks(self.items[: i + 1])
        return None if checksum else Marks()

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on the file."""
        if not self.torn:
            return ()
        return (
            f"line {len(self.items) + 1} of {FILE} is incomplete: a mark is being written, or its writing was "
            "interrupted; this mark does not count, repeat it",
        )


def read_marks(root: Path) -> Marks:
    """The marks of the store at `root`.

    StoreError where the file is a link, too large, or damaged; the message names the line.
    """
    path = root / FILE
    try:
        content = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        return Marks()
    except StoreError as error:
        raise StoreError(f"{error}; restore the file from a copy, or run with --no-marks") from error
    items: list[Mark] = []
    intact = 0
    lines = io.BytesIO(content).readlines()  # bytes.splitlines would also end a line at a carriage return
    for i, line in enumerate(lines):
        try:
            raw = unseal(line) if line.endswith(b"\n") else None
        except ValueError as error:
            if i + 1 < len(lines):
                raise _damage(path, i, str(error)) from error
            raw = None
        if raw is None:
            break
        try:
            items.append(_mark(raw, items[-1].checksum if items else "", i + 1))
        except (ValueError, KeyError) as error:
            raise _damage(path, i, str(error)) from error
        intact += len(line)
    return Marks(tuple(items), intact, content[intact:])


def _damage(path: Path, before: int, what: str) -> StoreError:
    return StoreError(
        f"{path}, line {before + 1}: {what[:200]}; the file was changed. Restore it from a copy, or keep the {before} "
        f"marks before this line (`head -n {before} {FILE}`) and make the later ones again; --no-marks runs without"
    )


def _mark(raw: dict[str, Any], previous: str, line: int) -> Mark:
    """The mark of a line that follows the one with the checksum `previous`; ValueError says what does not fit."""
    if raw.get("version") != VERSION:
        raise ValueError(f"it has version {raw.get('version')!r:.20}, this program reads version {VERSION}")
    if raw.keys() != _FIELDS:
        raise ValueError(f"it has the fields {', '.join(sorted(raw)):.200}; expected {', '.join(sorted(_FIELDS))}")
    if typed(raw, "previous", str) != previous:
        raise ValueError("it does not follow the line before it, so lines were removed, added or moved")
    start_s, end_s = (None if raw[name] is None else typed(raw, name, float) for name in ("start_s", "end_s"))
    texts = {name: typed(raw, name, str) for name in ("clip", "mark", "who", "when", "note", "checksum")}
    return Mark(start_s=start_s, end_s=end_s, line=line, **texts)


def append_mark(root: Path, mark: Mark) -> Mark:
    """Write a mark to the file of the store at `root` and return it with its line, checksum and time.

    The mark is on disk when this returns. StoreError for a file that cannot be written or is damaged; ResourceError for
    a full disk, which leaves the file as it was.
    """
    return append_marks(root, (mark,))[0]


def append_marks(root: Path, given: Sequence[Mark]) -> list[Mark]:
    """Write marks in order, all or none, as `append_mark` writes one.

    Only a crash while they are written may leave the first of them. OptionError for a mark that `problem_of` refuses.
    """
    if not given:
        return []
    problem = next(filter(None, map(problem_of, given)), "")
    if problem:
        raise OptionError(problem)
    path = root / FILE
    with explained(str(path), 0, root), _locked(path) as descriptor:
        marks = read_marks(root)
        now, head = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), marks.head
        written: list[Mark] = []
        lines = []
        for mark in given:
            raw = seal({**mark.as_json(), "when": mark.when or now, "version": VERSION, "previous": head})
            written.append(_mark(raw, head, len(marks.items) + len(written) + 1))
            head = written[-1].checksum
            lines.append(canonical(raw) + b"\n")
        added = b"".join(lines)
        if marks.intact + len(added) > MAX_BYTES:
            raise StoreError(
                f"{path} would exceed its limit of {MAX_BYTES:,} bytes; export the marks with `detect marks STORE "
                "--csv FILE`, move the file away, and begin a new one"
            )
        check_space(str(path), len(added), root)
        if os.fstat(descriptor).st_size != marks.intact + len(marks.torn):  # the lock does not work everywhere
            raise StoreError(f"{path}: another program marks at the same time; mark the clip again")
        if marks.torn:
            _keep_torn(root / TORN, marks.torn)
            os.ftruncate(descriptor, marks.intact)
        _write_line(descriptor, added, marks.intact)
        sync_directory(root)
    return written


def _keep_torn(path: Path, torn: bytes) -> None:
    """Add the bytes of an incomplete line to those of earlier ones: a line that was damaged later may be among them."""
    try:
        earlier = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        earlier = b""
    write_new(path, earlier + torn.rstrip(b"\n") + b"\n")


def _write_line(descriptor: int, line: bytes, intact: int) -> None:
    """Append whole lines durably, or leave the file with its `intact` bytes."""
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.ftruncate(descriptor, intact)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file opened to append, locked against other writers; it is created where it is missing."""
    if os.name == "nt":
        raise StoreError(f"{path}: marks need POSIX file locks; on Windows use WSL, or only read them")
    import fcntl  # not available on Windows

    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"cannot write {path}: it is a symbolic link; a store must hold its own files") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreError(f"{path} is not a regular file; the store is damaged or was tampered with")
        end = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StoreError(f"{path} is being written by another process; wait until it ends") from None
                time.sleep(0.01)
        if not os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor)):
            raise StoreError(f"{path} was replaced meanwhile; mark the clip again")
        yield descriptor
    finally:
        os.close(descriptor)
