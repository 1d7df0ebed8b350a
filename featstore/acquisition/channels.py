"""Which channel of recordings has sound, where the selected one is silent, and what to do about it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featstore.acquisition.outliers import SILENT, Finding
from featstore.acquisition.recordings import Recordings
from featstore.audio.read import read_clip
from featstore.errors import RejectedAudio

LISTENED = 3
"""Silent clips per section whose other channels are read."""

MOST_CHANNELS = 16


Place = tuple[str, str]
"""Machine and section."""


def channel_texts(root: Path, recordings: Recordings, findings: Sequence[Finding]) -> dict[Place, str]:
    """Which channel has sound, for every section with silent clips of several channels; reads a few of these clips."""
    channels, texts = recordings.facts["channels"], {}
    for finding in findings:
        rows = [row for row in finding.rows if channels[row] > 1]
        if finding.what == SILENT and rows:
            heard = sorted({channel for row in rows[:LISTENED] for channel in _sounding(root, recordings, row)})
            texts[finding.machine, finding.section] = _text(recordings, rows, heard)
    return texts


def _sounding(root: Path, recordings: Recordings, row: int) -> list[int]:
    """The channels of a clip that are not silent."""
    heard = []
    for channel in range(min(int(recordings.facts["channels"][row]), MOST_CHANNELS)):
        try:
            policy = replace(recordings.policy, channel=str(channel))
            recording = read_clip(root, recordings.clips[row].path, 0, policy)
        except RejectedAudio:
            continue
        if recording.outcome != "silent":
            heard.append(channel)
    return heard


def _text(recordings: Recordings, rows: Sequence[int], heard: Sequence[int]) -> str:
    """What to do; another --channel is proposed only where every recording has it."""
    if not heard:
        return "every channel is silent"
    names = ", ".join(map(str, heard))
    if (recordings.facts["channels"] > heard[0]).all():
        return f"sound is in channel {names}: build with --channel {heard[0]}"
    selected = recordings.policy.main.channel
    clips = f"{recordings.clips[rows[0]].path}{f' and {len(rows) - 1:,} more' if len(rows) > 1 else ''}"
    read = "the mean" if selected == "mean" else f"channel {selected}"
    have = f"channel {names} has" if len(heard) == 1 else f"channels {names} have"
    cure = "replace it by a mono copy" if len(rows) == 1 else "replace them by mono copies"
    other = "" if selected == "mean" else ", or build all with --channel mean"
    return f"{clips}: {read} is silent, {have} the sound; {cure}{other}"
