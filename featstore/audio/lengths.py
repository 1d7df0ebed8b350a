"""Lengths of recordings by their headers."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featstore.audio.policy import AudioPolicy
from featstore.audio.read import open_without_waiting
from featstore.audio.wav import wav_data
from featstore.clip import window_of
from featstore.errors import RejectedAudio

HEADER_BYTES = 1 << 12  # enough for the header of nearly every WAV
SAMPLED_FILES = 20


def typical_seconds(root: Path, paths: Sequence[str], policy: AudioPolicy) -> float | None:
    """Median length under `policy` of a few clips spread over `paths`; None when none of them can be read."""
    kind, fixed = policy.fixed_seconds()
    lengths = [clip_seconds(root, path) for path in paths[:: max(1, len(paths) // SAMPLED_FILES)]]
    usable = [seconds for seconds in lengths if seconds and (fixed or seconds <= policy.max_seconds)]
    if not usable or fixed is None:
        return float(np.median(usable)) if usable else None
    return fixed if kind != "crop" else min(fixed, float(np.median(usable)))


def clip_seconds(root: Path, path: str) -> float | None:
    """Length of a clip below `root`, whose path may name a window; None where `seconds_of` is."""
    window = window_of(path)
    return window.end_s - window.start_s if window else seconds_of(root / path)


def seconds_of(path: str | Path) -> float | None:
    """Length of a recording by its header; None where it cannot be read, is damaged or holds no samples."""
    import soundfile

    try:
        with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                return None
            head = file.read(HEADER_BYTES)
            layout = wav_data(head, info.st_size)
            if layout is not None and layout.rate_hz:
                return layout.frames / layout.rate_hz or None
            if seconds := _flac_seconds(head):
                return seconds
            file.seek(0)
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                return sound.frames / sound.samplerate if sound.frames > 0 else None
    except (OSError, ValueError, soundfile.SoundFileError, RejectedAudio):
        return None


def _flac_seconds(head: bytes) -> float | None:
    """Length that the first block of a FLAC file states (RFC 9639, 8.2), ten times faster than libsndfile."""
    if head[:4] != b"fLaC" or len(head) < 26 or head[4] & 0x7F:
        return None
    packed = int.from_bytes(head[18:26], "big")  # 20 bits sample rate, 8 bits format, 36 bits number of samples
    rate_hz, frames = packed >> 44, packed & ((1 << 36) - 1)
    return frames / rate_hz if rate_hz and frames else None
