"""Whether an MP3 file states how many samples it has, and a first frame that lets one without be decoded to its end.

Without such a frame (Xing, Info or VBRI) libmpg123 estimates the length from the first bit rate and the size of the
file: too long by the tags and the last part of a frame, and wrong by any factor for a variable bit rate.
"""

from typing import NamedTuple

from featstore.audio.part import At, after_tags

SEARCHED_BYTES = 1 << 16
COUNTED_BYTES = 1 << 28
"""Largest file whose samples are counted by decoding it; some hours of sound."""

_SMALLEST_FRAME = 24
_LAYER_3 = 1
_RATES_HZ = (44100, 48000, 32000)
_BIT_RATE = 9  # of the added frame: 128 kbit/s, or 80 in MPEG 2


class Unstated(NamedTuple):
    """An MP3 whose header states no length. start: of its first frame. head: a frame to put there, b"" for layer 1, 2.

    The frame states more samples than the file can hold, so that a decoder stops at the end of the file.
    """

    start: int
    head: bytes


def unstated(at: At, size: int) -> Unstated | None:
    """The first frame of an MP3 that states no length; None for one that does, and where there is no frame."""
    tags = after_tags(at)
    data = at(tags, SEARCHED_BYTES)
    position = data.find(b"\xff")
    while position >= 0:
        frame = data[position : position + 64]
        if _is_header(frame):
            if any(tag in frame for tag in (b"Xing", b"Info", b"VBRI")):
                return None
            return Unstated(tags + position, _frame(frame, size))
        position = data.find(b"\xff", position + 1)
    return None


def _is_header(frame: bytes) -> bool:
    """Whether bytes begin as a frame: 11 bits set; version, layer, bit rate and sample rate that exist."""
    return (
        len(frame) >= 4
        and frame[1] & 0xE0 == 0xE0
        and frame[1] >> 3 & 3 != 1
        and frame[1] >> 1 & 3 != 0
        and frame[2] >> 4 != 15
        and frame[2] >> 2 & 3 != 3
    )


def _frame(first: bytes, size: int) -> bytes:
    """A frame without sound like the first one that states as many frames as a file of `size` bytes can hold."""
    version, is_mono = first[1] >> 3 & 3, first[3] >> 6 == 3
    if first[1] >> 1 & 3 != _LAYER_3:
        return b""
    is_first = version == 3
    rate_hz = _RATES_HZ[first[2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}[version]
    n_bytes = 144 * 128_000 // rate_hz if is_first else 72 * 80_000 // rate_hz
    header = bytes([0xFF, first[1] | 1, _BIT_RATE << 4 | first[2] & 0x0C, first[3]])
    side = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
    stated = b"Xing" + (1).to_bytes(4, "big") + (size // _SMALLEST_FRAME + 1).to_bytes(4, "big")
    return (header + bytes(side) + stated).ljust(n_bytes, b"\0")
