"""Parts of recordings as the page plays and draws them: one channel at one sample rate, of a bounded length."""

from io import FileIO
from typing import TYPE_CHECKING

import numpy as np

from ensemble.page.media import Sound
from featstore.audio.opened import BLOCK_FRAMES, opened
from featstore.errors import RejectedAudio

if TYPE_CHECKING:
    from soundfile import SoundFile

MOST_S = 300.0
"""A sound or a picture shows at most this much."""

MOST_RATE_HZ = 1_000_000
"""Files with a higher sample rate are refused: a part of them could be arbitrarily large."""

MOST_DECODED = 512 << 20
"""Most bytes of samples of all channels, as float32, that are decoded for a part."""

BLOCK_VALUES = 1 << 21
"""Samples of all channels that are decoded at a time."""


def read_part(file: FileIO, size: int, rate_hz: int, channel: str, span: tuple[float, float | None]) -> Sound:
    """The part of an open recording of `size` bytes from start to end (None: its end), at most MOST_S of it.

    channel: a number or "mean", as in `AudioPolicy`. A part that ends after the recording is shorter. RejectedAudio
    where the part has no samples or NaN or infinite ones, or the file is no sound.
    """
    start_s, end_s = span
    longest = start_s + MOST_S
    with opened(file, size) as sound:
        native_hz, channels = sound.file.samplerate, sound.file.channels
        if native_hz > MOST_RATE_HZ:
            raise RejectedAudio(f"its sample rate of {native_hz:,} Hz is above the limit of {MOST_RATE_HZ:,} Hz")
        if channel != "mean" and int(channel) >= channels:
            raise RejectedAudio(f"channel {channel} does not exist, the file has {channels}")
        first = min(round(min(start_s, 1e9) * native_hz), sound.frames)
        last = min(round(min(longest if end_s is None else min(end_s, longest), 1e9) * native_hz), sound.frames)
        if first >= last:
            raise RejectedAudio(f"it has no samples from {start_s:g} s on")
        needed = (last - first) * channels * 4
        if needed > MOST_DECODED:
            seconds, amount = f"{(last - first) / native_hz:g} s", f"{needed >> 20:,} MB"
            raise RejectedAudio(
                f"{seconds} of {channels} channels at {native_hz:,} Hz are {amount}; at most "
                f"{MOST_DECODED >> 20} MB are decoded at once"
            )
        if first:
            sound.file.seek(first)
        return Sound(_decoded(sound.file, last - first, rate_hz, channel), rate_hz, start_s)


def _decoded(file: "SoundFile", frames: int, rate_hz: int, channel: str) -> np.ndarray:
    """The next `frames` of a file as float32 (time,) at `rate_hz`."""
    import soxr

    native_hz, blocks, done = file.samplerate, [], 0
    resample = soxr.ResampleStream(native_hz, rate_hz, 1, dtype="float32") if rate_hz != native_hz else None
    step = max(1, min(BLOCK_FRAMES, BLOCK_VALUES // file.channels))
    while done < frames:
        block = file.read(min(step, frames - done), dtype="float32", always_2d=True)
        if not len(block):
            raise RejectedAudio(f"truncated: {done:,} of {frames:,} samples could be decoded")
        if not np.isfinite(block).all():
            raise RejectedAudio("contains NaN or infinite samples")
        done += len(block)
        mono = block.mean(axis=1) if channel == "mean" else np.ascontiguousarray(block[:, int(channel)])
        blocks.append(resample.resample_chunk(mono, last=done >= frames) if resample else mono)
    return np.concatenate(blocks)
