"""Bytes of a recording at any offset, and a view of a file with another length in its header."""

import io
from collections.abc import Callable
from typing import BinaryIO

At = Callable[[int, int], bytes]
"""Reads up to `count` bytes at an offset; fewer at the end of the file."""


def in_memory(content: bytes) -> At:
    """Reader of bytes in memory."""
    return lambda offset, count: content[offset : offset + count]


def on_disk(file: BinaryIO, head: bytes) -> At:
    """Reader of a file whose first bytes are `head`; it moves the position of the file."""

    def at(offset: int, count: int) -> bytes:
        if offset + count <= len(head):
            return head[offset : offset + count]
        file.seek(offset)
        return file.read(count) or b""

    return at


class Part(io.RawIOBase):
    """The bytes of `file` from `start` to `end` as a file, with `patch` (offset, bytes) in place of its own.

    A decoder reads a recording to its end through it, whatever length its header states.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, patch: tuple[int, bytes] = (0, b"")) -> None:
        self._file, self._start, self._end, self._patch = file, start, end, patch
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Position from `start`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; a position before the start becomes the start."""
        base = (0, self._position, self._end - self._start)[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`; fewer bytes at the end."""
        first = self._start + self._position
        self._file.seek(first)
        data = bytearray(self._file.read(max(0, min(len(buffer), self._end - first))) or b"")
        where, new = self._patch
        begin, stop = max(where, first), min(where + len(new), first + len(data))
        if begin < stop:
            data[begin - first : stop - first] = new[begin - where : stop - where]
        buffer[: len(data)] = bytes(data)
        self._position += len(data)
        return len(data)
