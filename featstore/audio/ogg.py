"""Whether an Ogg file (Vorbis, Opus, FLAC) is complete: its header states no length, but its pages do."""

from featstore.audio.outcomes import UNKNOWN
from featstore.audio.part import At
from featstore.errors import RejectedAudio

PAGE_BYTES = 27 + 255 + 255 * 255
"""Most bytes of a page: header, table of segments, segments."""

_LAST = 4  # flag of the page that ends a stream


def ogg_outcome(at: At, size: int) -> str:
    """UNKNOWN for an Ogg file of whole pages of which none ends the stream; empty for all other files.

    Raises RejectedAudio where the last page is cut, and for two streams one after the other.
    """
    head = at(0, 18)
    if head[:4] != b"OggS":
        return ""
    start = max(0, size - PAGE_BYTES)
    tail = at(start, size - start)
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    declared = 27 + len(segments) + sum(segments)
    if len(page) < max(28, declared) or len(segments) < page[26]:
        raise RejectedAudio(f"truncated: its last page declares {declared:,} bytes or more, the file has {len(page):,}")
    if page[14:18] != head[14:18]:
        raise RejectedAudio("holds several Ogg streams, of which only the first would be decoded; split the file")
    return "" if page[5] & _LAST else UNKNOWN
