"""Files below a folder, opened so that no path and no symbolic link leads out of it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path, PurePosixPath

from featstore.errors import RejectedAudio, reason_of

OUTSIDE = "its path leads out of the folder of the recordings"
LOOP = "it is a symbolic link that leads back to itself"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_FOLLOW


@contextmanager
def opened_below(root: Path, path: str) -> Iterator[tuple[FileIO, os.stat_result]]:
    """A regular file below `root`, open for reading, and its facts. RejectedAudio with the reason where there is none.

    Links that stay below `root` are followed. The file is opened part by part from `root` without following a link, so
    a link that is put in its place meanwhile is refused.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise RejectedAudio(OUTSIDE)
    try:
        base = root.resolve(strict=True)
        place = _resolved(base / parts)
        if not place.is_relative_to(base):
            raise RejectedAudio(OUTSIDE)
        _check_regular(place.stat(follow_symlinks=False))  # opening a device can have effects
        with os.fdopen(_descriptor(base, place), "rb", buffering=0) as file:
            info = os.fstat(file.fileno())
            _check_regular(info)
            yield file, info
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: no file name
        raise RejectedAudio(f"cannot be read: {reason_of(error)}") from error


def _resolved(path: Path) -> Path:
    """Where a path leads, also where nothing is there; RejectedAudio for links that lead back to themselves."""
    try:
        return path.resolve()
    except RuntimeError as error:  # its text has the whole path
        raise RejectedAudio(f"cannot be read: {LOOP}") from error


def _check_regular(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise RejectedAudio("not a regular file")
    if not info.st_size:
        raise RejectedAudio("the file is empty (0 bytes)")


def _descriptor(base: Path, place: Path) -> int:
    """An open descriptor of `place`, of whose parts below `base` none is a link."""
    if os.open not in os.supports_dir_fd:
        return os.open(place, _READ)
    *folders, name = place.relative_to(base).parts
    folder = os.open(base, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, _READ, dir_fd=folder)
    finally:
        os.close(folder)
