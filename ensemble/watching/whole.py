"""Whether a file is complete: the length that its header states against its size.

Only containers of PCM (WAV, RF64, W64, AIFF, AU, CAF) state it; the others count samples, which take any number of
bytes.
"""

import stat
from pathlib import Path
from typing import NamedTuple

from featstore.audio.extent import stated_by
from featstore.audio.opened import HEAD_BYTES
from featstore.audio.part import on_disk
from featstore.audio.read import open_without_waiting


class Version(NamedTuple):
    """What distinguishes two contents of one path without reading them."""

    size: int
    mtime_ns: int


def version_of(path: Path) -> Version | None:
    """The present version of a regular file; None where there is none. Other errors of the file system are raised."""
    try:
        info = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Version(info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None


def missing_bytes(path: Path, size: int) -> int | None:
    """Bytes that a file of `size` bytes lacks by its own header, 0 if complete; None if no header states it.

    Raises OSError where the file cannot be read.
    """
    with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
        stated = stated_by(on_disk(file, file.read(HEAD_BYTES) or b""))
    return None if stated is None or stated.end is None else max(0, stated.end - size)
