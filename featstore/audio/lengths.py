"""Lengths of recordings by their headers."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featstore.audio.opened import HEAD_BYTES, opened
from featstore.audio.part import on_disk
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import open_without_waiting
from featstore.audio.wav import wav_data
from featstore.clip import window_of
from featstore.errors import RejectedAudio

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
    """Length of a recording; None where it cannot be read, is damaged or holds no samples. Some MP3 are decoded."""
    try:
        with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                return None
            layout = wav_data(on_disk(file, file.read(HEAD_BYTES)), info.st_size)
            if layout is not None:
                return layout.frames / layout.rate_hz or None
            with opened(file, info.st_size) as sound:
                return sound.frames / sound.file.samplerate or None
    except (OSError, RejectedAudio):
        return None
