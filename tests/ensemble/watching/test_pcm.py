"""Samples from pipes that hand out a few bytes at a time."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from ensemble.watching.pcm import FORMATS, Layout, Pcm, PcmRequest, decode
from featstore.errors import DataError, OptionError

WAVE = np.array([0.0, 0.5, -0.5, 0.25, -1.0, 0.125])
LARGEST = {"s16le": 1 << 15, "s24le": 1 << 23, "s32le": 1 << 31}


class Pipe:
    """Hands out `data` in pieces of `size` bytes."""

    def __init__(self, data: bytes, size: int) -> None:
        self.file, self.size = io.BytesIO(data), size

    def read(self, size: int, /) -> bytes:
        return self.file.read(min(size, self.size))


def encoded(wave: np.ndarray, kind: str) -> bytes:
    if kind == "f32le":
        return wave.astype("<f4").tobytes()
    numbers = [int(value * LARGEST[kind]) for value in wave]
    return b"".join(number.to_bytes(FORMATS[kind], "little", signed=True) for number in numbers)


def read(data: bytes, size: int = 3, **request: object) -> tuple[np.ndarray, Pcm]:
    pcm = Pcm(Pipe(data, size), PcmRequest(**request))  # type: ignore[arg-type]
    return np.concatenate([np.empty(0, np.float32), *pcm.waves()]), pcm


def wav(subtype: str = "PCM_16", *, length: int | None = None, channels: int = 1) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.repeat(WAVE[:, None], channels, axis=1), 8000, subtype=subtype, format="WAV")
    data = file.getvalue()
    at = data.index(b"data") + 4
    return data if length is None else data[:at] + struct.pack("<I", length) + data[at + 4 :]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_raw_samples_of_every_format(kind: str, size: int) -> None:
    wave, pcm = read(encoded(WAVE, kind), size, rate_hz=8000, format=kind)
    np.testing.assert_array_equal(wave, WAVE.astype(np.float32))
    assert (wave.dtype, pcm.dropped_bytes, pcm.layout) == (np.float32, 0, Layout(8000, kind, 1))


def test_channels() -> None:
    data = encoded(np.column_stack([WAVE, WAVE / 2]).ravel(), "s16le")
    for channel, expected in {"0": WAVE, "1": WAVE / 2, "mean": 0.75 * WAVE}.items():
        wave, _ = read(data, rate_hz=8000, channels=2, channel=channel)
        np.testing.assert_allclose(wave, expected, atol=1e-6)
    with pytest.raises(OptionError, match="--channel 2: the stream has 2"):
        read(data, rate_hz=8000, channels=2, channel="2")


@pytest.mark.parametrize("odd", [1, 2, 3])
def test_an_unfinished_sample_at_the_end_is_counted(odd: int) -> None:
    wave, pcm = read(encoded(WAVE, "s16le") + b"x" * odd, rate_hz=8000, channels=2)
    assert (len(wave), pcm.dropped_bytes) == (3, odd)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5])
def test_a_stream_that_is_shorter_than_a_header(size: int) -> None:
    wave, pcm = read(encoded(WAVE, "s16le")[:size], rate_hz=8000)
    assert (len(wave), pcm.dropped_bytes) == (size // 2, size % 2)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("length", [None, 0, 0xFFFFFFFF, 0x80000000])
def test_a_wav_of_known_or_unknown_length(subtype: str, length: int | None) -> None:
    wave, pcm = read(wav(subtype, length=length))
    np.testing.assert_allclose(wave[: len(WAVE)], np.clip(WAVE, -1, 1), atol=1e-6)
    assert pcm.layout.rate_hz == 8000
    assert (pcm.layout.length is None) == (length is not None)


def test_what_follows_the_samples_of_a_wav_is_no_sound() -> None:
    wave, _ = read(wav() + b"LIST" + struct.pack("<I", 1000) + bytes(1000))
    assert len(wave) == len(WAVE)


def test_a_wav_with_channels() -> None:
    wave, pcm = read(wav("PCM_16", channels=3), channel="2")
    assert (len(wave), pcm.layout.channels) == (len(WAVE), 3)


@pytest.mark.parametrize(
    ("data", "request_", "error", "message"),
    [
        (wav(), {"rate_hz": 16000}, OptionError, "the WAV has 8000 Hz; leave --rate out"),
        (b"\0" * 10, {}, OptionError, "raw samples need --rate"),
        (b"RIFF", {}, DataError, "is no WAV"),
        (b"RIFF\0\0\0\0AVI ", {}, DataError, "is no WAV"),
        (wav()[:20], {}, DataError, "ended within the header"),
        (wav()[:12] + b"junk" + struct.pack("<I", 1 << 31), {}, DataError, "the limit is 1048576"),
        (wav()[:12] + b"data" + struct.pack("<I", 8), {}, DataError, "no format before its samples"),
        (wav("ULAW"), {}, DataError, "format 7 with 8 bits is not read"),
    ],
)
def test_streams_that_are_refused(data: bytes, request_: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(data, **request_)


def test_the_mean_does_not_overflow() -> None:
    data = encoded(np.array([-1.0, -1.0]), "s32le")
    assert decode(data, Layout(1, "s32le", 2), "mean") == [-1.0]
