"""Spectrogram images and audio players of a clip, as data URIs."""

import base64
import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from featstore.audio.near_far.mix import mix_of
from featstore.audio.near_far.mixes import main_channel
from featstore.audio.opened import opened
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import open_without_waiting, read_recording
from featstore.clip import Window, recording_of, window_of
from featstore.errors import RejectedAudio, reason_of
from featstore.mel import htk_hz, htk_mel

MAX_SECONDS = 60.0
"""At most this much is read from the start of a recording, or of a window, unless the caller says otherwise."""

WINDOW_S, BANDS, MAX_FRAMES = 0.064, 112, 400
RANGE_DB = 75.0
DIFFERENCE_DB = 20.0
"""Differences of this size and more have the strongest colour."""

PEAK = 0.7
MAX_GAIN = 100.0


@dataclass(frozen=True, eq=False)
class Sound:
    """A decoded recording, or a part of it: float32 (time,) at `rate_hz`; start_s: time of its first sample."""

    wave: np.ndarray
    rate_hz: int
    start_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.wave) / self.rate_hz


Listen = Callable[[str], Sound | None]
"""Reads the recording, or the window, of a clip by its path; None if there is none."""


def recordings(root: Path, rate_hz: int, channel: str, longest_s: float | None = None) -> Listen:
    """Reads recordings below `root` with the embedder's sample rate and channel; never a file outside `root`.

    Of a window, only its part of the file is read. longest_s: at most this much is read, by default MAX_SECONDS.
    """
    longest_s = longest_s or MAX_SECONDS
    policy = AudioPolicy(channel=main_channel(channel), length=f"crop:{longest_s:g}")

    def listen(path: str) -> Sound | None:
        window, parts = window_of(path), PurePosixPath(recording_of(path))
        if parts.is_absolute() or ".." in parts.parts:
            return None
        try:
            if window:
                return _read_window(root / parts, window, rate_hz or 16_000, policy.channel, longest_s)
            return Sound(read_recording(root / parts, rate_hz or 16_000, policy).wave, rate_hz or 16_000)
        except RejectedAudio:
            return None

    return listen


def _read_window(path: Path, window: Window, rate_hz: int, channel: str, longest_s: float) -> Sound:
    """At most `longest_s` of a window at `rate_hz`; RejectedAudio where it cannot be read or has no samples."""
    import soxr

    try:
        with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise RejectedAudio("not a regular file")
            with opened(file, info.st_size) as sound:
                native_hz = sound.file.samplerate
                start = min(round(window.start_s * native_hz), sound.frames)
                end = round(min(window.end_s, window.start_s + longest_s) * native_hz)
                sound.file.seek(start)
                samples = sound.file.read(max(0, min(end, sound.frames) - start), dtype="float32", always_2d=True)
        mix = mix_of(channel)
        if mix.missing(samples.shape[1]) is not None:
            raise RejectedAudio(f"the recording has {samples.shape[1]} channels, and channel {channel} was asked for")
        wave, _ = mix.finished(mix.columns(samples))
    except OSError as error:
        raise RejectedAudio(f"the window cannot be read: {reason_of(error)}") from error
    if not len(wave) or not np.isfinite(wave).all():
        raise RejectedAudio("the window has no samples, or NaN or infinite ones")
    return Sound(np.asarray(soxr.resample(wave, native_hz, rate_hz), dtype=np.float32), rate_hz, window.start_s)


def spectrogram(sound: Sound) -> np.ndarray:
    """Mean power in mel-spaced bands in dB, (BANDS, frames up to MAX_FRAMES), low bands first.

    For display only. Bands are differences of the integrated spectrum, so a band narrower than a bin is not empty.
    """
    n_fft = 2 ** max(5, round(np.log2(WINDOW_S * sound.rate_hz)))
    wave = np.pad(sound.wave, (0, max(0, n_fft - len(sound.wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[:: n_fft // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(n_fft).astype(np.float32))) ** 2
    starts = np.unique(np.linspace(0, len(power), min(len(power), MAX_FRAMES), endpoint=False).astype(int))
    power = np.add.reduceat(power, starts) / np.diff(np.append(starts, len(power)))[:, None]
    bins = np.arange(power.shape[1] + 1) - 0.5  # edges of the bins
    edges = htk_hz(np.linspace(0, htk_mel(np.array(sound.rate_hz / 2)), BANDS + 1)) * n_fft / sound.rate_hz
    total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    integrated = np.array([np.interp(edges, bins, row) for row in total])
    return np.asarray(10 * np.log10(np.maximum(np.diff(integrated) / np.diff(edges), 1e-10)).T)


def shared_range(spectrograms: list[np.ndarray]) -> tuple[float, float]:
    """Darkest and brightest level in dB for spectrograms that are compared."""
    values = np.concatenate([S.ravel() for S in spectrograms])
    low, high = np.quantile(values, [0.02, 0.999])
    return float(max(low, high - RANGE_DB)), float(max(high, low + 1))


_ANCHORS = (
    (0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122),
    (229, 80, 100), (251, 135, 97), (254, 194, 135), (252, 253, 191),
)  # fmt: skip
"""RGB from black over purple and orange to pale yellow: lightness rises evenly, so that grey prints are readable."""

BLUE_RED = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
"""RGB from blue (quieter than normal) over white (normal) to red (louder)."""


Anchors = Sequence[tuple[int, int, int]]


def _palette(anchors: Anchors) -> bytes:
    at = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(at, np.arange(len(anchors)), channel) for channel in zip(*anchors, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def png(values: np.ndarray, anchors: Anchors = _ANCHORS) -> bytes:
    """A PNG from uint8 values (rows, columns), first row at the top; anchors: RGB colours from 0 to 255."""
    rows, columns = values.shape
    raw = np.concatenate([np.zeros((rows, 1), np.uint8), values], axis=1).tobytes()  # filter type 0 before each row
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", _palette(anchors)), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def spectrogram_png(S: np.ndarray, low_db: float, high_db: float) -> bytes:
    """Spectrogram (bands, frames) as a PNG, low bands at the bottom."""
    level = np.clip((S[::-1] - low_db) / (high_db - low_db), 0, 1)
    return png((255 * level).round().astype(np.uint8))


def difference_png(S: np.ndarray, normal: np.ndarray) -> bytes:
    """S minus another spectrogram as a PNG of S's size, from blue (quieter) over white (equal) to red (louder).

    Where the other one is shorter, its mean over time stands for the rest.
    """
    frames = min(S.shape[1], normal.shape[1])
    other = np.repeat(normal.mean(axis=1, keepdims=True), S.shape[1], axis=1)
    other[:, :frames] = normal[:, :frames]
    level = np.clip(0.5 + (S - other)[::-1] / (2 * DIFFERENCE_DB), 0, 1)
    return png((255 * level).round().astype(np.uint8), BLUE_RED)


def common_gain(sounds: list[Sound]) -> float:
    """One gain for sounds that are compared: quiet machines become audible, and no sound clips."""
    peak = max(float(np.abs(sound.wave).max(initial=0)) for sound in sounds)
    return min(PEAK / peak, MAX_GAIN) if peak > 0 else 1.0


def audio_uri(sound: Sound, gain: float, seconds: float) -> str:
    """The first `seconds` as a FLAC file of 16-bit samples: lossless, and smaller than WAV."""
    import soundfile

    wave = sound.wave[: round(seconds * sound.rate_hz)] * gain
    samples = (np.clip(wave, -1, 1) * 32767).round().astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sound.rate_hz, subtype="PCM_16", format="FLAC")
    return data_uri("audio/flac", file.getvalue())


def data_uri(kind: str, data: bytes) -> str:
    """Bytes of a media type as a URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
