"""Whether a file is complete: the length that its header states against its size.

Only the header of a WAV states the length of its file; the other formats count samples, which take any number of bytes.
"""

import stat
import struct
from pathlib import Path
from typing import NamedTuple

from featstore.audio.read import open_without_waiting

HEAD_BYTES = 1 << 16
UNKNOWN_FROM = 0xFFFFF000
"""Such lengths and more, and 0, mean "not known yet" in headers of streams and of unfinished recordings."""


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
    """Bytes that a WAV of `size` bytes lacks by its own header, 0 if complete; None if no header states it.

    Raises OSError where the file cannot be read.
    """
    with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
        declared = declared_size(file.read(HEAD_BYTES) or b"")
    return None if declared is None else max(0, declared - size)


def declared_size(head: bytes) -> int | None:
    """Size of the complete file that begins with `head`, up to its last sample; None if `head` does not state it."""
    if head[:4] not in {b"RIFF", b"RF64"} or head[8:12] != b"WAVE":
        return None
    position, long_data = 12, 0
    while position + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, position)
        start = position + 8
        if name == b"ds64" and start + 16 <= len(head):
            long_data = struct.unpack_from("<8xQ", head, start)[0]
        if name == b"data":
            if head[:4] == b"RF64" and length == 0xFFFFFFFF:
                return start + long_data if long_data else None
            return start + length if 0 < length < UNKNOWN_FROM else None
        position = start + length + (length & 1)
    return None
