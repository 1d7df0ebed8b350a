"""The format of a little-endian PCM WAV file."""

import struct
from dataclasses import dataclass

from featstore.audio.extent import extent_of
from featstore.audio.part import At
from featstore.errors import RejectedAudio

FORMAT_PCM, FORMAT_EXTENSIBLE = 0x0001, 0xFFFE


@dataclass(frozen=True)
class WavData:
    """Position and format of the samples of a PCM WAV file; start and frames count bytes and frames.

    outcome: as of `extent_of`.
    """

    channels: int
    rate_hz: int
    bits: int
    start: int
    frames: int
    outcome: str = ""


def wav_data(at: At, size: int) -> WavData | None:
    """Position and format of the samples of a little-endian PCM WAV (RIFF or RF64); None for every other file.

    Raises RejectedAudio as `extent_of`, and for a sample rate of 0.
    """
    if at(0, 4) not in (b"RIFF", b"RF64", b"BW64"):
        return None
    extent = extent_of(at, size)
    if extent is None or len(extent.fmt) < 16:
        return None
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", extent.fmt)
    if not rate_hz:
        raise RejectedAudio("its header states a sample rate of 0")
    if tag == FORMAT_EXTENSIBLE and len(extent.fmt) >= 26:
        tag = struct.unpack_from("<H", extent.fmt, 24)[0]
    if tag != FORMAT_PCM or channels < 1 or frame_bytes != channels * bits // 8 or not frame_bytes:
        return None
    return WavData(channels, rate_hz, bits, extent.start, extent.length // frame_bytes, extent.outcome)
