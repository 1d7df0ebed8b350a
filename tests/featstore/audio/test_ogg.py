"""Whether Ogg files are complete."""

import re
from itertools import pairwise

import pytest
from recordings import content_of, noise

from featstore.audio.ogg import ogg_outcome
from featstore.audio.outcomes import UNKNOWN
from featstore.audio.part import in_memory
from featstore.errors import RejectedAudio


def outcome(content: bytes) -> str:
    return ogg_outcome(in_memory(content), len(content))


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_whole_and_cut_files(kind: str) -> None:
    content = content_of(kind, noise(4))
    assert outcome(content) == ""
    last = content.rindex(b"OggS")
    assert outcome(content[:last]) == UNKNOWN, "whole pages, of which none is the last"
    for size in (len(content) - 1, last + 27, last + 26, last + 5):
        with pytest.raises(RejectedAudio, match=f"truncated: .* or more, the file has {size - last:,}$"):
            outcome(content[:size])


@pytest.mark.parametrize("second", ["ogg", "opus"])
def test_two_streams_in_one_file(second: str) -> None:
    """Also with the same serial number, as of a file that was joined with itself."""
    content, other = content_of("ogg", noise(4)), content_of(second, noise(2))
    with pytest.raises(RejectedAudio, match=f"^holds two recordings; split the file .* at byte {len(content):,}"):
        outcome(content + other)
    serial = other[:14] + content[14:18] + other[18:]
    with pytest.raises(RejectedAudio, match="holds two recordings; split the file"):
        outcome(content + serial)


def pages(content: bytes) -> list[bytes]:
    starts = [match.start() for match in re.finditer(b"OggS\0", content)]
    return [content[start:end] for start, end in pairwise([*starts, len(content)])]


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_a_missing_page(kind: str) -> None:
    parts = pages(content_of(kind, noise(8)))
    assert len(parts) >= 5
    for i in range(1, len(parts) - 1):
        with pytest.raises(RejectedAudio, match="a page is missing in the middle, before byte"):
            outcome(b"".join(parts[:i] + parts[i + 1 :]))


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_a_damaged_page_is_one_that_decoders_skip(kind: str) -> None:
    parts = pages(content_of(kind, noise(8)))
    changed = bytearray(parts[2])
    changed[-1] ^= 1
    with pytest.raises(RejectedAudio, match=f"the page at byte {len(parts[0] + parts[1]):,} of the file is damaged"):
        outcome(b"".join([*parts[:2], changed, *parts[3:]]))


@pytest.mark.parametrize("after", [bytes(200_000), b"\xaa" * 500, b"Ogg"])
def test_what_may_follow_the_last_page(after: bytes) -> None:
    assert outcome(content_of("ogg", noise(2)) + after) == ""


def test_other_files() -> None:
    assert outcome(b"") == outcome(content_of("wav", noise(0.1))) == ""
