"""Where the samples of an uncompressed recording lie: what its header states against what the file holds.

| header                                                  | what is read                                               |
|---------------------------------------------------------|------------------------------------------------------------|
| states the bytes that follow, or trailing chunks follow | these bytes                                                |
| states more bytes than the file has, even by one        | nothing: rejected as truncated                             |
| states no length, or one of `is_placeholder`            | up to the end of the file, outcome "length unknown"        |
| states less, but its outer chunk (RIFF, FORM) ends with | these bytes                                                |
| the file, or within it and after the samples            |                                                            |
| states less, and what follows is no chunk               | up to the end, outcome "longer than its header says"       |
| the same, 4 GiB or a multiple less (32 bits are full)   | what the header means, with the same outcome               |
| the same, and a second recording follows                | nothing: rejected                                          |

Up to PADDING_BYTES, or zeros only, after the stated end are padding.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from featstore.audio.outcomes import LONGER, UNKNOWN
from featstore.audio.part import At
from featstore.errors import RejectedAudio

PADDING_BYTES = 512
"""Bytes after the stated end, fewer than the recording has, that may be anything: a disk sector."""

ALIGN = 2
"""Bytes by which the outer chunk may miss the end of the file: padding."""

NEIGHBOURS = 1 << 16
MOST_CHUNKS = 1000
_NO_LENGTH = 1 << 62
BLOCK_BYTES = 1 << 20
MOST_READ = 1 << 32
"""Most bytes after the samples that are compared with zero."""

_TRAILING = {b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"inst", b"JUNK", b"fact", b"PEAK", b"iXML", b"_PMX"}


class _Form(NamedTuple):
    """How a kind of container writes its chunks.

    first: where the first chunk is. header: name and length of a chunk as struct has them. align: of chunks. inside:
    bytes of the header that the length counts. data: name of the chunk of samples. skip: bytes in it before these.
    outer: where the size of the outer chunk, which holds all others, is stated, and the bytes that it leaves out.
    """

    first: int
    header: str
    align: int = 2
    inside: int = 0
    data: bytes = b"data"
    skip: int = 0
    outer: tuple[int, int] = (4, 8)


_FORMS = {
    b"RIFF": _Form(12, "<4sI"),
    b"RF64": _Form(12, "<4sI"),
    b"BW64": _Form(12, "<4sI"),
    b"RIFX": _Form(12, ">4sI"),
    b"riff": _Form(
        40, "<16sQ", 8, inside=24, data=b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", outer=(16, 0)
    ),
    b"FORM": _Form(12, ">4sI", data=b"SSND", skip=8),
    b"caff": _Form(8, ">4sq", 1, skip=4, outer=(0, 0)),
}
_AU = {b".snd": ">", b"dns.": "<"}


class Extent(NamedTuple):
    """The samples of a recording, in bytes.

    start, length: where they are in the file. outcome: "", UNKNOWN or LONGER. patch: offset and bytes of a length field
    that states `length`. fmt: the format chunk of a WAV.
    """

    start: int
    length: int
    outcome: str = ""
    patch: tuple[int, bytes] = (0, b"")
    fmt: bytes = b""

    @property
    def end(self) -> int:
        """Offset of the first byte after the samples."""
        return self.start + self.length


class Stated(NamedTuple):
    """What a header states: the first byte of the samples, their length in bytes, and where it states the length.

    field: offset and struct of the length field. more: bytes that it counts beside the samples. outer: end of the file
    by the size of its outer chunk, 0 without any.
    """

    start: int
    length: int
    field: tuple[int, str]
    more: int = 0
    form: _Form | None = None
    fmt: bytes = b""
    outer: int = 0

    @property
    def end(self) -> int | None:
        """Size of the file up to its last sample; None where the header does not know it."""
        return None if is_placeholder(self.length) else self.start + self.length


def is_placeholder(length: int) -> bool:
    """Whether a length means "unknown": recorders write 0, -1, or about 0x7F000000, 2 or 4 GiB and never come back."""
    limits = (0x7F000000, 0x7FFFF000, 0x80000000, 0xFFFFF000, 0x100000000)
    return length <= 0 or length >= _NO_LENGTH or any(abs(length - limit) <= NEIGHBOURS for limit in limits)


def extent_of(at: At, size: int) -> Extent | None:
    """The samples of a file of `size` bytes; None for a format that is not a container of PCM, or has no samples yet.

    Raises RejectedAudio for a truncated file and for two recordings in one.
    """
    stated = stated_by(at)
    if stated is None:
        return None
    held = max(0, size - stated.start)
    length, outcome = _length(stated, held, at, size)
    offset, code = stated.field
    field = min(length + stated.more, (1 << (8 * struct.calcsize(code))) - 1)
    return Extent(stated.start, length, outcome, (offset, struct.pack(code, field)), stated.fmt)


def stated_by(at: At) -> Stated | None:
    """What the header of a WAV, RF64, RIFX, W64, AIFF, AU or CAF states; None for other files."""
    head = at(0, 40)
    magic = head[:4]
    if magic in _AU and len(head) >= 24:
        code = _AU[magic] + "I"
        start, length = struct.unpack_from(_AU[magic] + "II", head, 4)
        return Stated(start, length, (8, code))
    is_form = {b"FORM": head[8:11] == b"AIF", b"caff": True, b"riff": head[24:28] == b"wave"}
    if magic not in _FORMS or not is_form.get(magic, head[8:12] == b"WAVE"):
        return None
    return _in_chunks(at, _FORMS[magic], is_long=magic in (b"RF64", b"BW64"))


def _in_chunks(at: At, form: _Form, *, is_long: bool) -> Stated | None:
    """The chunk of samples, and the chunks before it that are needed."""
    fmt, long_at = b"", 0
    code = form.header[0] + form.header[-1]
    field_at = struct.calcsize(form.header) - struct.calcsize(code)
    outer = _outer(at, form.outer, code)
    for position, name, start, length in _chunks(at, form, form.first):
        if name[:4] == b"fmt ":
            fmt = at(start, min(length, 40))
        elif name == b"ds64" and is_long:
            long_at, outer = start + 8, _outer(at, (start, 8), "<Q")
        elif name == form.data:
            field, more = (position + field_at, code), form.inside + form.skip
            if is_long and length == 0xFFFFFFFF and long_at:
                field, length = (long_at, "<Q"), int.from_bytes(at(long_at, 8), "little")
            if form.data == b"SSND":
                offset = int.from_bytes(at(start, 4), "big")
                start, length, more = start + offset, length - offset if length > 8 else length, more + offset
            return Stated(start + form.skip, max(0, length - form.skip), field, more, form, fmt, outer)
    return None


def _outer(at: At, where: tuple[int, int], code: str) -> int:
    """End of a file by the size of its outer chunk, 0 without any."""
    offset, more = where
    field = at(offset, struct.calcsize(code))
    return struct.unpack(code, field)[0] + more if offset and len(field) == struct.calcsize(code) else 0


def _chunks(at: At, form: _Form, position: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Offset, name, first byte of the content and length of every chunk from `position` on."""
    n_bytes = struct.calcsize(form.header)
    for _ in range(MOST_CHUNKS):
        header = at(position, n_bytes) if position < _NO_LENGTH else b""
        if len(header) < n_bytes:
            return
        name, length = struct.unpack(form.header, header)
        yield position, name, position + n_bytes, length - form.inside
        if length < form.inside:
            return
        position += n_bytes + length - form.inside
        position += -position % form.align


def _length(stated: Stated, held: int, at: At, size: int) -> tuple[int, str]:
    """Bytes of samples to read, and the outcome, of a file that holds `held` bytes from the first sample on."""
    if stated.length > held:
        if not is_placeholder(stated.length):
            raise RejectedAudio(
                f"truncated: its header declares {stated.length:,} bytes of samples, the file has {held:,}"
            )
        return held, UNKNOWN
    for length in range(stated.length, held + 1, 1 << 32):
        if _is_followed_by_chunks(stated, stated.start + length, at, size):
            return length, LONGER if length > stated.length else ""
    if stated.length == 0:
        return held, UNKNOWN
    rest = held - stated.length
    if (
        rest <= min(PADDING_BYTES, stated.length)
        or (_is_finished(stated, size) and _leads_to_end(stated, at, size))
        or _is_zero(at, stated.start + stated.length, size)
    ):
        return stated.length, ""
    return held, LONGER


def _is_finished(stated: Stated, size: int) -> bool:
    """Whether the outer chunk ends with the file, or within it but after the samples: a recorder wrote it at the end.

    A recorder that was interrupted has left both sizes as they were. A file of 4 GiB or more does not fit in 32 bits.
    """
    ends_inside = stated.start + stated.length + ALIGN < stated.outer <= size < stated.outer + (1 << 32) - ALIGN
    return abs(stated.outer - size) <= ALIGN or ends_inside


def _leads_to_end(stated: Stated, at: At, size: int) -> bool:
    """Whether chunks of any name follow the samples up to the outer end; samples that a length leaves out do not."""
    end = stated.start + stated.length
    if stated.form is None:
        return False
    for begin in (end, end + -end % stated.form.align):
        position = begin
        for _, _, start, length in _chunks(at, stated.form, begin):
            position = start + max(length, 0)
            if position >= size - ALIGN:
                break
        if position > begin and min(abs(position - size), abs(position - stated.outer)) <= ALIGN:
            return True
    return False


def _is_followed_by_chunks(stated: Stated, end: int, at: At, size: int) -> bool:
    """Whether the file ends at `end`, or only whole chunks, a known one or less than a chunk's header follow."""
    if stated.form is None or end >= size:
        return end >= size
    ends = {end, end + -end % stated.form.align}  # some writers leave the padding out
    limit = max(size, stated.outer)  # chunks may be cut
    return any(_are_chunks(at, stated.form, begin, limit) for begin in ends)


def _are_chunks(at: At, form: _Form, begin: int, size: int) -> bool:
    position = begin
    for position, name, start, length in _chunks(at, form, begin):
        if name[:4] in (*_FORMS, form.data[:4]):
            raise RejectedAudio(f"a second recording begins at byte {position:,} of the file; split the file")
        if name[:4] in _TRAILING:
            return True
        if not name[:4].isascii() or not name[:4].decode().isprintable() or not 0 <= length <= size - start:
            return False
        position = start + length
    return size - position < struct.calcsize(form.header)


def _is_zero(at: At, begin: int, end: int) -> bool:
    """Whether bytes are zero; of more than MOST_READ only blocks at equal distances are read, and the last one."""
    step = BLOCK_BYTES * max(1, -(-(end - begin) // MOST_READ))
    starts = [*range(begin, end, step), max(begin, end - BLOCK_BYTES)]
    blocks = (at(start, min(BLOCK_BYTES, end - start)) for start in starts)
    return all(block == bytes(len(block)) for block in blocks)
