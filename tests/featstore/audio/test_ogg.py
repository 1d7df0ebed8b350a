"""Whether Ogg files are complete."""

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


def test_two_streams_in_one_file() -> None:
    with pytest.raises(RejectedAudio, match="several Ogg streams"):
        outcome(content_of("ogg", noise(2)) + content_of("opus", noise(2)))


def test_other_files() -> None:
    assert outcome(b"") == outcome(content_of("wav", noise(0.1))) == ""
