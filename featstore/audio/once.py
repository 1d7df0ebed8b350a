"""What a process has found out about the files that it read last, because a build reads many windows of one file."""

import os
from collections.abc import Callable
from io import FileIO
from typing import Any, TypeVar

REMEMBERED = 32

T = TypeVar("T")
_found: dict[tuple[object, ...], Any] = {}


def once(file: FileIO, what: str, find: Callable[[], T]) -> T:
    """`find()` for this content of an open file, or what it returned before. What it raises is not remembered."""
    info = os.fstat(file.fileno())
    key = (what, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    _found[key] = _found.pop(key) if key in _found else find()  # moved to the end, so the oldest is removed first
    while len(_found) > REMEMBERED:
        _found.pop(next(iter(_found)), None)
    result: T = _found[key]
    return result
