"""Sound from a pipe: raw samples, or a WAV whose header may not know its length."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from featstore.audio.extent import is_placeholder
from featstore.audio.near_far.mix import mix_of
from featstore.errors import DataError, OptionError

FORMATS = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
"""Bytes per sample."""

READ_BYTES = 1 << 16
MAX_CHUNK_BYTES = 1 << 20
_WAV_FORMATS = {(1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}
_EXTENSIBLE = 0xFFFE


class Source(Protocol):
    """An unbuffered binary stream: `read` returns what is available, at most `size` bytes, none at the end."""

    def read(self, size: int, /) -> bytes | None: ...  # noqa: D102


@dataclass(frozen=True)
class PcmRequest:
    """How raw samples are to be read. rate_hz: None for a WAV, whose header states it. channel: a number, or mean."""

    rate_hz: int | None = None
    format: str = "s16le"
    channels: int = 1
    channel: str = "0"


@dataclass(frozen=True)
class Layout:
    """Format of the samples of a stream. length: bytes of all samples, None if unknown."""

    rate_hz: int
    format: str
    channels: int
    length: int | None = None


class Pcm:
    """One channel of the sound of `source`.

    Raises OptionError where options are missing or contradict the stream, DataError for a header that is not readable.
    """

    def __init__(self, source: Source, request: PcmRequest) -> None:
        self.source, self.channel = source, request.channel
        self.head = _exactly(source, 4)
        if self.head == b"RIFF":
            self.layout, self.head = _wav_layout(source), b""
            if request.rate_hz not in {None, self.layout.rate_hz}:
                raise OptionError(f"--rate {request.rate_hz}: the WAV has {self.layout.rate_hz} Hz; leave --rate out")
        elif request.rate_hz is None:
            raise OptionError("raw samples need --rate HZ, because they have no header that states it")
        else:
            self.layout = Layout(request.rate_hz, request.format, request.channels)
        missing = mix_of(self.channel).missing(self.layout.channels)
        if missing is not None:
            raise OptionError(f"--channel {self.channel}: the stream has {self.layout.channels} (counted from 0)")
        self.dropped_bytes = 0

    def waves(self) -> Iterator[np.ndarray]:
        """Waves, float32 (time,), as they come; bytes of an unfinished sample at the end count as `dropped_bytes`."""
        frame_bytes = FORMATS[self.layout.format] * self.layout.channels
        rest = self.head
        left = self.layout.length
        while left is None or left > 0:
            data = self.source.read(READ_BYTES if left is None else min(READ_BYTES, left))
            if not data:
                break
            left = None if left is None else left - len(data)
            data = rest + data
            whole = len(data) - len(data) % frame_bytes
            rest = data[whole:]
            if whole:
                yield decode(data[:whole], self.layout, self.channel)
        if len(rest) >= frame_bytes:  # a stream of four bytes
            yield decode(rest[: len(rest) - len(rest) % frame_bytes], self.layout, self.channel)
        self.dropped_bytes = len(rest) % frame_bytes


def decode(data: bytes, layout: Layout, channel: str) -> np.ndarray:
    """One channel of interleaved little-endian samples as float32 in [-1, 1) (floats as they are)."""
    if layout.format == "f32le":
        samples = np.frombuffer(data, "<f4")
    elif layout.format == "s24le":
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        samples = (parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) / np.float64(1 << 31)
    else:
        bits = 8 * FORMATS[layout.format]
        samples = np.frombuffer(data, f"<i{bits // 8}") / np.float64(1 << (bits - 1))
    frames = samples.reshape(-1, layout.channels)
    return np.asarray(mix_of(channel).columns(frames)[:, 0].astype(np.float32))


def _wav_layout(source: Source) -> Layout:
    """Layout of a WAV from its header, up to the first sample."""
    if _exactly(source, 8)[4:] != b"WAVE":
        raise DataError("the stream begins with RIFF but is no WAV")
    fmt = b""
    while True:
        head = _exactly(source, 8)
        if len(head) < 8:
            raise DataError("the stream ended within the header of the WAV")
        name, length = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            return _layout(fmt, length)
        if length > MAX_CHUNK_BYTES:
            raise DataError(f"the header of the WAV holds {name!r} of {length} bytes; the limit is {MAX_CHUNK_BYTES}")
        content = _exactly(source, length + (length & 1))
        if name == b"fmt ":
            fmt = content


def _layout(fmt: bytes, length: int) -> Layout:
    if len(fmt) < 16:
        raise DataError("the WAV has no format before its samples")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        tag = struct.unpack_from("<H", fmt, 24)[0]
    if (tag, bits) not in _WAV_FORMATS or channels < 1 or rate_hz < 1:
        raise DataError(f"a WAV stream of format {tag} with {bits} bits is not read; expected {', '.join(FORMATS)}")
    return Layout(rate_hz, _WAV_FORMATS[tag, bits], channels, None if is_placeholder(length) else length)


def _exactly(source: Source, size: int) -> bytes:
    """`size` bytes; fewer where the stream ends."""
    data = b""
    while len(data) < size:
        part = source.read(size - len(data))
        if not part:
            break
        data += part
    return data
