"""Long recordings -> windows, by one rule.

- Windows of W seconds start at 0, H, 2 H, ... as long as they end within the recording.
- If the last one ends more than a millisecond before the recording does, one more window of W seconds ends with it.
- A recording that is not longer than W seconds stays one clip, the whole recording.
- A recording whose header cannot be read stays one clip too, so that the build rejects it once, with its reason.

Clips that are windows already, listed in a manifest or a Kaldi `segments` file, are not cut.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from featstore.audio.lengths import seconds_of
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import TOLERANCE_S
from featstore.clip import Clip, Windows, window_path

MOST_WINDOWS = 500_000
"""Most windows of a recording; a header that states more is not trusted, and the build rejects the recording."""

ROUNDING = 1e-9
"""Tolerance for floating point: (0.3 - 0.1) / 0.1 is 1.9999999999999998."""

THREADS = 8  # headers on a network drive take long, each by itself
PER_TASK = 64


def windows_of(root: Path, clips: Sequence[Clip], policy: AudioPolicy) -> list[Clip]:
    """`clips` in order, those of long recordings cut into windows where `policy` says so; reads headers only."""
    cut = policy.windows
    if cut is None:
        return list(clips)
    listed = {clip.path for clip in clips if clip.window}
    whole = list(dict.fromkeys(clip.path for clip in clips if clip.window is None))
    lengths = dict(zip(whole, _seconds(root, whole), strict=True))
    return [
        part
        for clip in clips
        for part in _parts(clip, lengths.get(clip.path), cut)
        if part is clip or part.path not in listed  # the window may be listed beside its whole recording
    ]


def starts_of(seconds: float, cut: Windows) -> list[float]:
    """Start of every window of a recording in seconds; none where it stays whole."""
    if seconds <= cut.window_s:
        return []
    last = int((seconds - cut.window_s) / cut.hop_s + ROUNDING)
    if last >= MOST_WINDOWS:
        return []
    starts = [number * cut.hop_s for number in range(last + 1)]
    if seconds - (starts[-1] + cut.window_s) > TOLERANCE_S + ROUNDING:
        starts.append(seconds - cut.window_s)
    return starts


def _parts(clip: Clip, seconds: float | None, cut: Windows) -> list[Clip]:
    starts = starts_of(seconds, cut) if seconds is not None else []
    return [replace(clip, path=window_path(clip.path, start, start + cut.window_s)) for start in starts] or [clip]


def _seconds(root: Path, paths: Sequence[str]) -> Iterator[float | None]:
    """Length of every recording by its header."""
    base = os.fspath(root)

    def read(start: int) -> list[float | None]:
        return [seconds_of(os.path.join(base, path)) for path in paths[start : start + PER_TASK]]  # noqa: PTH118

    with ThreadPoolExecutor(THREADS) as threads:
        for part in threads.map(read, range(0, len(paths), PER_TASK)):
            yield from part
