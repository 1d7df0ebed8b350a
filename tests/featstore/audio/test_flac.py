"""The first block and the last frame of FLAC files."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from featstore.audio.flac import flac_of, last_frame
from featstore.audio.outcomes import UNKNOWN
from featstore.audio.part import BLOCK_BYTES, in_memory
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.errors import RejectedAudio

ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)


def flac(frames: int, rate_hz: int = 16_000, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    file = BytesIO()
    wave = np.random.default_rng(frames).uniform(-0.5, 0.5, (frames, channels))
    sf.write(file, wave, rate_hz, format="FLAC", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 16_000, 44_100, 96_000, 192_000])
@pytest.mark.parametrize(("channels", "subtype"), [(1, "PCM_16"), (2, "PCM_24"), (2, "PCM_S8"), (8, "PCM_16")])
def test_the_last_frame_ends_with_the_last_sample(rate_hz: int, channels: int, subtype: str) -> None:
    for frames in (1, 191, 4096, 4097, 12_345, 600_000 if channels == 1 and rate_hz == 16_000 else 9000):
        content = flac(frames, rate_hz, channels, subtype)
        first = flac_of(in_memory(content))
        assert first is not None
        assert (first.rate_hz, first.channels, first.frames) == (rate_hz, channels, frames)
        assert last_frame(first, in_memory(content), len(content))[1] == frames


def test_the_last_frame_of_a_cut_file() -> None:
    content = flac(20_000)
    first = flac_of(in_memory(content))
    assert first is not None
    begin, end = last_frame(first, in_memory(content), len(content) - 10)
    assert end == 20_000
    assert begin == 16_384
    assert last_frame(first, in_memory(content), len(content) // 2)[1] in range(4096, 16_384, 4096)
    assert last_frame(first, in_memory(content), 60) == (0, 0)


def test_a_patched_header_states_another_length() -> None:
    content = bytearray(flac(20_000, 44_100, 2, "PCM_24"))
    first = flac_of(in_memory(bytes(content)))
    assert first is not None
    offset, field = first.patch(20_000)
    assert content[offset : offset + 8] == field
    content[offset : offset + 8] = first.patch(7)[1]
    assert flac_of(in_memory(bytes(content))) == first._replace(frames=7)


@pytest.mark.parametrize("before", [b"", ID3, 2 * ID3])
@pytest.mark.parametrize("frames", [0, 20_000])
def test_a_tag_in_front_is_skipped(tmp_path: Path, before: bytes, frames: int) -> None:
    content = bytearray(flac(20_000))
    content[22:26] = frames.to_bytes(4, "big")
    first = flac_of(in_memory(before + bytes(content)))
    assert first is not None
    assert (first.start, first.frames) == (len(before), frames)
    (tmp_path / "a").write_bytes(before + content)
    recording = read_recording(tmp_path / "a", 0, AudioPolicy())
    assert (recording.n_samples, recording.outcome) == (20_000, "" if frames else UNKNOWN)
    (tmp_path / "a").write_bytes((before + content)[: -len(content) // 2])
    if frames:
        with pytest.raises(RejectedAudio, match=r"declares 20,000 samples, the file has \d?\d,\d\d\d$"):
            read_recording(tmp_path / "a", 0, AudioPolicy())


@pytest.mark.parametrize("before", [b"", ID3])
@pytest.mark.parametrize("second", [flac(9000), flac(9000, 44_100, 2), b"\1" * BLOCK_BYTES + flac(100)])
def test_two_recordings_in_one_file(tmp_path: Path, before: bytes, second: bytes) -> None:
    content = before + flac(20_000)
    byte = len(content) + second.index(b"fLaC")
    (tmp_path / "a").write_bytes(content + second)
    with pytest.raises(RejectedAudio, match=f"^holds two recordings; split the file .* at byte {byte:,}"):
        read_recording(tmp_path / "a", 0, AudioPolicy())


def test_zeros_at_the_end_hide_no_frame(tmp_path: Path) -> None:
    content = bytearray(flac(20_000))
    content[22:26] = bytes(4)
    (tmp_path / "a").write_bytes(content + bytes(3 * BLOCK_BYTES))
    assert read_recording(tmp_path / "a", 0, AudioPolicy()).n_samples == 20_000


def test_other_files_have_no_first_block() -> None:
    for content in (b"", b"fLaC", b"RIFF" + bytes(60), b"fLaC\4" + bytes(60)):
        assert flac_of(in_memory(content)) is None


def crc8(data: bytes) -> int:
    """Remainder of the polynomial x^8 + x^2 + x + 1, by long division."""
    value = int.from_bytes(data, "big") << 8
    for bit in range(value.bit_length() - 1, 7, -1):
        if value >> bit & 1:
            value ^= 0x107 << (bit - 8)
    return value


@pytest.mark.parametrize(
    ("strategy", "number", "end"),
    [(0xF8, "\x07", 8 * 4096), (0xF9, "\u1388", 5000 + 4096), (0xF9, "\U0001ffff", 0x1FFFF + 4096)],
)
def test_frames_are_numbered_by_frame_or_by_sample(strategy: int, number: str, end: int) -> None:
    content = flac(4096)
    first = flac_of(in_memory(content))
    assert first is not None
    header = bytes([0xFF, strategy, 0xC0, 0x08]) + number.encode()  # 4096 samples, one channel of 16 bits
    whole = content + header + bytes([crc8(header)]) + bytes(20)
    assert last_frame(first, in_memory(whole), len(whole))[1] == end
    damaged = content + header + bytes([crc8(header) ^ 1]) + bytes(20)
    assert last_frame(first, in_memory(damaged), len(damaged))[1] == 4096
