"""Whether an Ogg file (Vorbis, Opus, FLAC) is complete: its header states no length, but its pages do (RFC 3533).

A decoder skips a page that is damaged, and stops, or gives silence, where a second stream begins.
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from featstore.audio.outcomes import UNKNOWN
from featstore.audio.part import At
from featstore.errors import RejectedAudio

HEADER_BYTES = 27
PAGE_BYTES = HEADER_BYTES + 255 + 255 * 255
"""Most bytes of a page: header, table of segments, segments."""

_FIRST, _LAST = 2, 4  # flags of the pages that begin and end a stream
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    """A page: where it begins, its bytes, and the fields of its header."""

    position: int
    content: bytes
    flags: int
    serial: bytes
    number: int


def ogg_outcome(at: At, size: int) -> str:
    """UNKNOWN for an Ogg file of whole pages of which none ends the stream; empty for all other files.

    Raises RejectedAudio where a page is cut, missing or damaged, and for two streams in one file.
    """
    if at(0, 4) != b"OggS":
        return ""
    last: _Page | None = None
    for page in _pages(at, size):
        if last and (page.flags & _FIRST or page.serial != last.serial):
            raise RejectedAudio(
                f"holds two recordings; split the file (the second one begins at byte {page.position:,})"
            )
        if last and page.number != (last.number + 1) % (1 << 32):
            raise RejectedAudio(f"a page is missing in the middle, before byte {page.position:,} of the file")
        if not _is_intact(page.content):
            raise RejectedAudio(f"the page at byte {page.position:,} of the file is damaged")
        last = page
    return "" if last and last.flags & _LAST else UNKNOWN


def _pages(at: At, size: int) -> Iterator[_Page]:
    """The pages of a file; other bytes between them and after them are skipped, as decoders do."""
    position = 0
    while position < size:
        page = at(position, PAGE_BYTES)
        if page[:5] != b"OggS\0":
            found = page.find(b"OggS\0", 1)
            position += found if found > 0 else max(1, len(page) - 4)
            continue
        segments = page[HEADER_BYTES : HEADER_BYTES + page[26]] if len(page) >= HEADER_BYTES else b""
        declared = HEADER_BYTES + len(segments) + sum(segments)
        if len(page) < max(HEADER_BYTES + 1, declared) or len(segments) < page[26]:
            held = size - position
            raise RejectedAudio(f"truncated: its last page declares {declared:,} bytes or more, the file has {held:,}")
        yield _Page(position, page[:declared], page[5], page[14:18], int.from_bytes(page[18:22], "little"))
        position += declared


def _is_intact(page: bytes) -> bool:
    """Whether the check sum of a page is right: CRC-32 from the highest bit on, of the page without its check sum."""
    reverse = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    remainder = zlib.crc32(reverse, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return remainder.to_bytes(4, "little").translate(_REVERSED)[::-1] == page[22:26]
