"""The header of a little-endian PCM WAV file."""

import struct
from dataclasses import dataclass

from featstore.errors import RejectedAudio

FORMAT_PCM, FORMAT_EXTENSIBLE = 0x0001, 0xFFFE


@dataclass(frozen=True)
class WavData:
    """Position and format of the samples of a PCM WAV file; start and frames count bytes and frames."""

    channels: int
    rate_hz: int
    bits: int
    start: int
    frames: int


def wav_data(head: bytes, size: int | None = None) -> WavData | None:
    """Position and format of the samples of a little-endian PCM WAV; None for every other file.

    Raises RejectedAudio when the data chunk is longer than the file, because libsndfile would shorten it silently.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    size = size or len(head)
    position, fmt = 12, b""
    while position + 8 <= len(head):
        name, length = head[position : position + 4], struct.unpack_from("<I", head, position + 4)[0]
        start = position + 8
        if name == b"fmt ":
            fmt = head[start : start + min(length, 40)]
        if name == b"data" and len(fmt) >= 16:
            tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
            if length < 0xFFFFF000 and start + length > size:  # larger values mean "unknown" in streams
                missing = start + length - size
                raise RejectedAudio(f"truncated: its header declares {missing} bytes more than the file has")
            if tag == FORMAT_EXTENSIBLE and len(fmt) >= 26:
                tag = struct.unpack_from("<H", fmt, 24)[0]
            if tag != FORMAT_PCM or channels < 1 or frame_bytes != channels * bits // 8 or length >= 0xFFFFF000:
                return None
            return WavData(channels, rate_hz, bits, start, length // frame_bytes)
        position = start + length + (length & 1)
    return None
