"""Bytes of a recording at any offset, and a view of a file with another length in its header."""

import io
from collections.abc import Callable
from typing import BinaryIO

At = Callable[[int, int], bytes]
"""Reads up to `count` bytes at an offset; fewer at the end of the file."""

BLOCK_BYTES = 1 << 20
MOST_TAGS = 16


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


def after_tags(at: At) -> int:
    """Offset of the first byte after the ID3v2 tags at the beginning of a file."""
    position = 0
    for _ in range(MOST_TAGS):
        head = at(position, 10)
        if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:]):
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        position += 10 + length + (10 if head[5] & 0x10 else 0)  # a footer
    return position


def without_zeros(at: At, size: int) -> int:
    """Size of a file up to its last byte that is not zero."""
    while size:
        block = at(max(0, size - BLOCK_BYTES), min(size, BLOCK_BYTES))
        if held := len(block.rstrip(b"\0")):
            return size - len(block) + held
        size -= max(1, len(block))
    return 0


class Part(io.RawIOBase):
    """The bytes of `file` from `start` to `end` as a file, with `patch` (offset, bytes) in place of its own.

    A decoder reads a recording to its end through it, whatever length its header states. `head` is put before `start`.
    """

    def __init__(
        self, file: BinaryIO, start: int, end: int, patch: tuple[int, bytes] = (0, b""), head: bytes = b""
    ) -> None:
        self._file, self._start, self._end, self._patch = file, start - len(head), end, patch
        self._head, self._position = head, 0

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
        data = bytearray(self._head[self._position : self._position + len(buffer)])
        begin = first + len(data)
        self._file.seek(max(0, begin))
        data += self._file.read(max(0, min(len(buffer) - len(data), self._end - begin))) or b""
        where, new = self._patch
        begin, stop = max(where, first), min(where + len(new), first + len(data))
        if begin < stop:
            data[begin - first : stop - first] = new[begin - where : stop - where]
        buffer[: len(data)] = bytes(data)
        self._position += len(data)
        return len(data)
