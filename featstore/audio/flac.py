"""How many samples a FLAC file states, and how many its last frame ends with (RFC 9639)."""

from typing import NamedTuple

from featstore.audio.part import BLOCK_BYTES, At, after_tags
from featstore.errors import RejectedAudio

TAIL_BYTES = 1 << 17
"""Bytes at the end in which the last frame is searched where the file does not state how long a frame can be."""

_HEADER_BYTES = 16
_SECOND = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # with the header of the first block, as sound may have the name
_RATES_HZ = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_BITS = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6, 32: 7}
_CRC8_POLYNOMIAL = 0x07


class Flac(NamedTuple):
    """The first block of a FLAC file.

    start: where it begins, after tags. frames: samples per channel of the file, block: of a frame, frame_bytes: of the
    longest frame; 0 where not known.
    """

    start: int
    rate_hz: int
    channels: int
    bits: int
    frames: int
    block: int
    frame_bytes: int

    def patch(self, frames: int) -> tuple[int, bytes]:
        """Offset and bytes of a first block that states `frames`."""
        packed = self.rate_hz << 44 | (self.channels - 1) << 41 | (self.bits - 1) << 36 | frames
        return self.start + 18, packed.to_bytes(8, "big")


def flac_of(at: At) -> Flac | None:
    """The first block of a FLAC file; None for other files."""
    start = after_tags(at)
    head = at(start, 42)
    if head[:4] != b"fLaC" or len(head) < 42 or head[4] & 0x7F:
        return None
    packed = int.from_bytes(head[18:26], "big")  # 20 bits sample rate, 3 channels - 1, 5 bits - 1, 36 samples
    channels, bits = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    block, frame_bytes = int.from_bytes(head[10:12], "big"), int.from_bytes(head[15:18], "big")
    return Flac(start, packed >> 44, channels, bits, packed & ((1 << 36) - 1), block, frame_bytes)


def check_single(flac: Flac, at: At, size: int) -> None:
    """Raise RejectedAudio for a file that holds a second recording after the one of `flac`."""
    for start in range(flac.start + 1, size, BLOCK_BYTES):
        block = at(start, BLOCK_BYTES + len(_SECOND[0]) - 1)
        for begin in _SECOND:
            if (found := block.find(begin)) >= 0:
                raise RejectedAudio(
                    f"holds two recordings; split the file (the second one begins at byte {start + found:,})"
                )


def last_frame(flac: Flac, at: At, size: int) -> tuple[int, int]:
    """First sample of the last frame whose header is in the file, and the sample after it; (0, 0) without any."""
    start = max(0, size - (2 * flac.frame_bytes or TAIL_BYTES))
    tail = at(start, size - start)
    position = tail.rfind(b"\xff")
    while position >= 0:
        if span := _span(flac, tail[position : position + _HEADER_BYTES]):
            return span
        position = tail.rfind(b"\xff", 0, position)
    return 0, 0


def _span(flac: Flac, header: bytes) -> tuple[int, int] | None:
    """First sample of a frame by its header, and the sample after it; None for bytes that are no header of the file."""
    if len(header) < 6 or header[1] & 0xFE != 0xF8:
        return None
    block_code, rate_code = header[2] >> 4, header[2] & 15
    channel_code, bits_code = header[3] >> 4, header[3] >> 1 & 7
    n_bytes = _number_bytes(header[4])
    if not block_code or not n_bytes or header[3] & 1 or not _fits(flac, rate_code, channel_code, bits_code):
        return None
    number = header[4] & (0x7F >> n_bytes if n_bytes > 1 else 0x7F)
    for byte in header[5 : 4 + n_bytes]:
        number = number << 6 | byte & 0x3F
    after = 4 + n_bytes
    extra = {6: 1, 7: 2}.get(block_code, 0)
    block = int.from_bytes(header[after : after + extra], "big") + 1 if extra else _block(block_code)
    crc_at = after + extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if crc_at >= len(header) or _crc8(header[:crc_at]) != header[crc_at]:
        return None
    first = number if header[1] & 1 else number * flac.block
    return first, first + block


def _block(code: int) -> int:
    """Samples of a frame whose code names them."""
    return 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)


def _fits(flac: Flac, rate_code: int, channel_code: int, bits_code: int) -> bool:
    """Whether the format of a frame is that of the file."""
    channels = channel_code + 1 if channel_code < 8 else 2
    rate_hz = _RATES_HZ[rate_code] if rate_code < len(_RATES_HZ) else 0
    return (
        channel_code <= 10
        and rate_code < 15
        and channels == flac.channels
        and rate_hz in (0, flac.rate_hz)
        and bits_code in (0, _BITS.get(flac.bits, 0))
    )


def _number_bytes(first: int) -> int:
    """Length of a number in the UTF-8 scheme by its first byte, up to seven; 0 for a byte that cannot be the first."""
    if first < 0x80:
        return 1
    n_bytes = 8 - (first ^ 0xFF).bit_length()
    return n_bytes if 2 <= n_bytes <= 7 else 0


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (_CRC8_POLYNOMIAL if crc & 0x80 else 0)) & 0xFF
    return crc
