"""Recordings for tests: tones, containers of every kind, and headers that state another length."""

import struct
from io import BytesIO

import numpy as np
import soundfile as sf

RATE = 16_000

CONTAINERS = {
    "wav": ("WAV", "PCM_16", None, b"data", "<I", 4, 0),
    "wav24": ("WAV", "PCM_24", None, b"data", "<I", 4, 0),
    "alaw": ("WAV", "ALAW", None, b"data", "<I", 4, 0),
    "rifx": ("WAV", "PCM_16", "BIG", b"data", ">I", 4, 0),
    "rf64": ("RF64", "PCM_16", None, b"ds64", "<Q", 16, 0),
    "w64": ("W64", "PCM_24", None, b"data", "<Q", 16, 24),
    "aiff": ("AIFF", "PCM_16", None, b"SSND", ">I", 4, 8),
    "aifc": ("AIFF", "FLOAT", None, b"SSND", ">I", 4, 8),
    "sowt": ("AIFF", "PCM_16", "LITTLE", b"SSND", ">I", 4, 8),
    "au": ("AU", "PCM_16", None, b".snd", ">I", 8, 0),
    "au_little": ("AU", "PCM_16", "LITTLE", b"dns.", "<I", 8, 0),
    "caf": ("CAF", "PCM_16", None, b"data", ">q", 4, 4),
    "caf_little": ("CAF", "PCM_24", "LITTLE", b"data", ">q", 4, 4),
}
"""Containers of PCM: format, subtype, byte order of libsndfile; chunk, type and place of the length; what it adds."""

COMPRESSED = {
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def tone(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Channel c is a sine of amplitude 0.5 / (c + 1)."""
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 / (c + 1) * np.sin(2 * np.pi * 440 * t) for c in range(channels)], axis=1)


def wav_header(frames: int, data: bytes = b"", **changes: int) -> bytes:
    fields = {"tag": 1, "channels": 1, "bits": 16} | changes
    block = fields["channels"] * fields["bits"] // 8
    fmt = struct.pack("<HHIIHH", fields["tag"], fields["channels"], RATE, RATE * block, block, fields["bits"])
    size = frames * block
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """White noise (time,) at RATE."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))


def content_of(kind: str, wave: np.ndarray) -> bytes:
    """A file of one of CONTAINERS or COMPRESSED at RATE."""
    file = BytesIO()
    form, subtype, endian = (*CONTAINERS.get(kind, ()), *COMPRESSED.get(kind, ()), None)[:3]
    sf.write(file, wave, RATE, format=form, subtype=subtype, endian=endian)
    return file.getvalue()


def with_length(kind: str, content: bytes, value: int) -> bytes:
    """A file of one of CONTAINERS whose header states another length in bytes, in the unit of its own field.

    The size of the outer chunk (RIFF, FORM) becomes 0, as where a recorder was interrupted.
    """
    *_, chunk, code, offset, _ = CONTAINERS[kind]
    changed = bytearray(content)
    if (where := outer_size(kind, content)) is not None:
        struct.pack_into(where[1], changed, where[0], 0)
    struct.pack_into(code, changed, content.index(chunk) + offset, value)
    return bytes(changed)


def outer_size(kind: str, content: bytes) -> tuple[int, str] | None:
    """Offset and type of the size of the outer chunk of a file of one of CONTAINERS; None for a kind without any."""
    if kind == "rf64":
        return content.index(b"ds64") + 8, "<Q"
    if kind == "w64":
        return 16, "<Q"
    return None if kind.startswith(("au", "caf")) else (4, CONTAINERS[kind][4])


def stated_length(kind: str, content: bytes) -> int:
    """The length that the header of a file of one of CONTAINERS states for its samples, in bytes."""
    *_, chunk, code, offset, more = CONTAINERS[kind]
    value: int = struct.unpack_from(code, content, content.index(chunk) + offset)[0]
    return value - more
