"""Lengths in headers against what files hold."""

import io
import struct

import numpy as np
import pytest
from recordings import CONTAINERS, content_of, noise, outer_size, stated_length, wav_header, with_length

from featstore.audio import extent as module
from featstore.audio.extent import PADDING_BYTES, Extent, extent_of, is_placeholder
from featstore.audio.outcomes import LONGER, UNKNOWN
from featstore.audio.part import in_memory, on_disk
from featstore.errors import RejectedAudio

LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"
RANDOM = np.random.default_rng(1).bytes(5000)


def extent(content: bytes) -> Extent:
    found = extent_of(in_memory(content), len(content))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_sound_header_is_believed(kind: str) -> None:
    content = content_of(kind, noise(0.1))
    found = extent(content)
    assert (found.length, found.outcome) == (stated_length(kind, content), "")


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_file_that_lacks_one_byte_is_truncated(kind: str) -> None:
    content = content_of(kind, noise(0.1))
    length, end = stated_length(kind, content), extent(content).end
    with pytest.raises(RejectedAudio, match=f"truncated: .* declares {length:,} bytes .* has {length - 1:,}$"):
        extent(content[: end - 1])


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("value", [0, -1, 0x7F000000 + 36, 0x7FFFF000, 0x7FFFFFFF - 44, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_is_no_length_means_the_rest_of_the_file(kind: str, value: int) -> None:
    content = content_of(kind, noise(0.1))
    bits = 8 * struct.calcsize(CONTAINERS[kind][4])
    changed = with_length(kind, content, value if CONTAINERS[kind][4] == ">q" else value % (1 << bits))
    assert extent(changed)[:3] == (*extent(content)[:2], UNKNOWN)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_length_that_is_too_small_is_not_believed(kind: str) -> None:
    content = content_of(kind, noise(0.1))
    changed = with_length(kind, content, CONTAINERS[kind][6] + 1000)
    assert extent(changed)[:3] == (*extent(content)[:2], LONGER)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_patched_header_states_the_true_length(kind: str) -> None:
    content = content_of(kind, noise(0.1))
    offset, field = extent(with_length(kind, content, CONTAINERS[kind][6] + 1000)).patch
    assert content[offset : offset + len(field)] == field


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (LIST, ""),
        (LIST[:-2], ""),  # a known chunk that is cut
        (b"abcd" + struct.pack("<I", 2) + b"xy" + LIST, ""),
        (b"abcd" + struct.pack("<I", 3) + b"xyz\0" + LIST, ""),  # an odd chunk is padded
        (b"\0", ""),
        (RANDOM[:PADDING_BYTES], ""),
        (RANDOM[: PADDING_BYTES + 1], LONGER),
        (bytes(5000), ""),
        (bytes(5000) + b"\1", LONGER),
        (b"abcd" + struct.pack("<I", 9000) + RANDOM, LONGER),
        (b"LIST" + struct.pack("<I", 9000) + RANDOM, ""),
    ],
    ids=range(11),
)
def test_what_may_follow_the_samples(after: bytes, outcome: str) -> None:
    content = wav_header(1000, bytes(range(200)) * 10)
    found = extent(content + after)
    assert found.outcome == outcome
    assert found.length == 2000 + (len(after) if outcome else 0)


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_odd_samples_may_lack_their_padding(pad: bytes) -> None:
    content = wav_header(0, b"\7" * 2001)
    content = content[:40] + struct.pack("<I", 2001) + content[44:]
    chunk = b"name" + struct.pack("<I", len(RANDOM)) + RANDOM
    assert extent(content + pad + chunk)[:3] == (44, 2001, "")


def test_an_odd_chunk_before_the_samples_is_padded() -> None:
    content = wav_header(1000, b"\7" * 2000)
    odd = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    assert extent(content[:12] + odd + content[12:]).start == 44 + len(odd)


@pytest.mark.parametrize("after", [b"", LIST])
@pytest.mark.parametrize("turns", [1, 2])
def test_a_length_beyond_32_bits(after: bytes, turns: int) -> None:
    head, true = wav_header(500), 1000 + (turns << 32)
    end = len(head) + true

    def at(offset: int, count: int) -> bytes:
        whole = head if offset < len(head) else after if offset >= end else b"\1" * count
        start = offset if offset < len(head) else max(0, offset - end)
        return whole[start : start + count]

    found = extent_of(at, end + len(after))
    assert found is not None
    assert (found.length, found.outcome) == (true, LONGER)


@pytest.mark.parametrize("kind", ["wav", "wav24", "alaw"])
@pytest.mark.parametrize(("missing", "outcome"), [(0, ""), (1, ""), (-2, ""), (300, "")])
def test_chunks_of_any_name_up_to_the_outer_end_are_no_sound(kind: str, missing: int, outcome: str) -> None:
    content = content_of(kind, noise(0.1))
    own, where = extent(content), outer_size(kind, content)
    assert where is not None
    changed = bytearray(content + b"\xa9nam" + struct.pack("<I", len(RANDOM)) + RANDOM)
    struct.pack_into(where[1], changed, where[0], len(changed) - 8 - missing)
    found = extent(bytes(changed))
    assert (found.length, found.outcome) == (
        own.length if not outcome else own.length + len(changed) - own.end,
        outcome,
    )


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if not kind.startswith(("au", "caf"))])
def test_sound_that_a_length_leaves_out_is_read_whatever_the_outer_size_says(kind: str) -> None:
    """No chunks follow the samples. The outer size ends with the file, within it, or nowhere."""
    content = content_of(kind, noise(0.1))
    own, where = extent(content), outer_size(kind, content)
    assert where is not None
    left_out = 0 if kind == "w64" else 8
    for end in (len(content) + len(RANDOM), len(content) + 100, own.end + 1, len(content) // 2, left_out):
        changed = bytearray(content + RANDOM)
        struct.pack_into(where[1], changed, where[0], end - left_out)
        found = extent(bytes(changed))
        assert (found.length, found.outcome) == (own.length + len(changed) - own.end, LONGER)


def test_metadata_that_is_cut() -> None:
    content = wav_header(1000, b"\7" * 2000) + b"abcd" + struct.pack("<I", len(RANDOM)) + RANDOM
    content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    assert extent(content[:-3000])[1:3] == (2000, "")
    assert extent(content[:4] + bytes(4) + content[8:-3000]).outcome == LONGER


@pytest.mark.parametrize("more", [0, 600, 5000])
def test_an_outer_size_that_does_not_fit_in_32_bits(more: int) -> None:
    head = bytearray(wav_header(1000))  # both sizes are 4 GiB less
    struct.pack_into("<I", head, 4, 36 + 2000 + more)
    size = 44 + 2000 + more + (1 << 32)
    found = extent_of(lambda offset, count: bytes(head[offset : offset + count]) or b"\1" * min(count, 9), size)
    assert found is not None
    assert (found.length, found.outcome) == (size - 44, LONGER)


def test_no_samples_are_no_unknown_length() -> None:
    assert extent(wav_header(0))[1:3] == (0, "")
    assert extent(wav_header(0) + LIST)[1:3] == (0, "")


@pytest.mark.parametrize("kind", ["wav", "rf64", "aiff"])
def test_two_recordings_in_one_file(kind: str) -> None:
    content = content_of(kind, noise(0.1))
    with pytest.raises(RejectedAudio, match=f"a second recording begins at byte {len(content):,} of the file"):
        extent(content + content)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC" + bytes(60), b"RIFF\0\0\0\0AVI LIST", wav_header(1)[:40]])
def test_other_files_have_no_extent(content: bytes) -> None:
    assert extent_of(in_memory(content), len(content)) is None


def test_a_file_of_empty_chunks_ends() -> None:
    head = b"RIFF\0\0\0\0WAVE"
    assert (
        extent_of(lambda offset, count: (head + bytes(count))[offset : offset + count] or bytes(count), 1 << 40) is None
    )


def test_placeholders() -> None:
    assert all(map(is_placeholder, (0, -5, 0x7F000008, 0x7FFFEFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63)))
    assert not any(map(is_placeholder, (1, 320_000, 0x70000000, 0x90000000, 0xF0000000, 5 << 32)))


def test_a_chunk_that_ends_beyond_every_file() -> None:
    content = bytearray(content_of("w64", noise(0.1)))
    content[56:64] = b"\xff" * 8  # the length of the format chunk, the first
    assert extent_of(in_memory(bytes(content)), len(content)) is None
    file = io.BytesIO(content)
    assert extent_of(on_disk(file, b""), len(content)) is None


@pytest.mark.parametrize(("sound_at", "outcome"), [(None, ""), (12345, LONGER), (-1, LONGER)])
def test_zeros_after_the_samples_are_compared_block_by_block(sound_at: int | None, outcome: str) -> None:
    more = bytearray(2 * module.BLOCK_BYTES + 3)
    if sound_at is not None:
        more[sound_at] = 1
    assert extent(wav_header(100, b"\7" * 200) + bytes(more)).outcome == outcome


def test_of_very_many_zeros_a_bounded_number_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_READ", 64 << 20)
    head, size, read = wav_header(100, b"\7" * 200), 50 << 30, 0

    def at(offset: int, count: int) -> bytes:
        nonlocal read
        read += min(count, size - offset)
        part = head[offset : offset + count]
        return part + zeros[: min(count, size - offset) - len(part)]

    zeros = bytes(module.BLOCK_BYTES)
    found = extent_of(at, size)
    assert found is not None
    assert (found.length, found.outcome) == (200, "")
    assert read <= module.MOST_READ + (16 << 20)


@pytest.mark.parametrize(("last", "outcome"), [(b"\0", ""), (b"\1", LONGER)])
def test_the_last_block_is_always_compared(monkeypatch: pytest.MonkeyPatch, last: bytes, outcome: str) -> None:
    monkeypatch.setattr(module, "MOST_READ", 1 << 20)
    content = wav_header(100, b"\7" * 200) + bytes(4 << 20) + last
    assert extent(content).outcome == outcome
