"""Where the reported clips of a detection deviate, for those whose recording can be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from ensemble.deviation.locate import Locator, locator_of
from ensemble.deviation.region import Region
from ensemble.run import Detection
from featstore.audio.hashes import content_hash
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.building.state import read_state
from featstore.clip import Window, recording_of, window_of
from featstore.errors import RejectedAudio
from featstore.store import FeatureStore
from featstore.terminal.shown import counted

MOST_CLIPS = 1000
"""Reported clips that are read at most, the most anomalous ones."""


@dataclass(frozen=True)
class Places:
    """Regions of the reported clips, by their row in the detection, and notes on those that have none."""

    regions: Mapping[int, tuple[Region, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def sentences(self) -> dict[int, str]:
        """The regions of each clip in words."""
        return {row: "; ".join(map(str, regions)) for row, regions in self.regions.items()}

    def as_json(self, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """The regions by clip key; `keys`: those of the rows of the detection."""
        return {keys[row]: [region.as_json() for region in regions] for row, regions in self.regions.items()}


def places(store: FeatureStore, detection: Detection, data: Path | None) -> Places:
    """Where the reported clips deviate from normal.

    data: folder of the recordings. None: that of the last build, for recordings whose size and time, or content, are
    still those of the store. What prevents it becomes a note and no error, because the scores do not depend on it.
    """
    rows = np.flatnonzero(detection.decision)
    rows = rows[np.argsort(-detection.percentile[rows], kind="stable")]
    if not len(rows):
        return Places()
    files = _files(store, detection, rows[:MOST_CLIPS], data)
    if not files:
        return Places(notes=("the recordings are needed to find where reported clips deviate: give --data DATA",))
    locator, reason = locator_of(store, detection.train, pool_sections=detection.recipe.pool_sections)
    if locator is None:
        return Places(notes=(f"where a reported clip deviates is unknown: {reason}",))
    regions: dict[int, tuple[Region, ...]] = {}
    for row, file in files.items():
        clip = detection.clips[row]
        window = window_of(clip.path)
        try:
            wave = read_wave(file, locator, window)
        except RejectedAudio:
            continue
        start_s = window.start_s if window else 0.0
        regions[row] = locator.regions(wave, clip.machine, clip.section, start_s=start_s)
    return Places(regions, _notes(len(rows), len(regions), data))


def read_wave(file: Path, locator: Locator, window: Window | None = None) -> np.ndarray:
    """The wave of a recording, or of a window of it, as the statistics need it; RejectedAudio says why not."""
    policy = AudioPolicy(channel=locator.channel or "0", length=locator.length or "native")
    return read_recording(file, locator.embedder.sample_rate_hz, policy, window=window).wave


def _files(store: FeatureStore, detection: Detection, rows: np.ndarray, data: Path | None) -> dict[int, Path]:
    """The files of the clips `rows` that exist and, without `data`, have not changed since the build."""
    state = read_state(store.path)
    root = data or (Path(state.root) if state else None)
    if root is None or not root.is_dir():
        return {}
    paths = {int(row): detection.clips[int(row)].path for row in rows}
    facts = {} if data else _facts(store, set(paths.values()))
    files = {}
    for row, path in paths.items():
        parts = PurePosixPath(recording_of(path))
        file = root / parts
        if parts.is_absolute() or ".." in parts.parts or not file.is_file():
            continue
        if data or (path in facts and facts[path].are_of(file)):
            files[row] = file
    return files


class _Facts(NamedTuple):
    """Size, time of modification and content of a recording when it was built."""

    size_bytes: int
    mtime_ns: int
    content_hash: str

    def are_of(self, file: Path) -> bool:
        """Whether a file is still this recording; only one with another time is read, as after a copy."""
        try:
            info = file.stat()
            if info.st_size != self.size_bytes:
                return False
            same_time = info.st_mtime_ns == self.mtime_ns
            return same_time or (self.content_hash != "" and content_hash(file) == self.content_hash)
        except OSError:
            return False


def _facts(store: FeatureStore, paths: set[str]) -> dict[str, _Facts]:
    """Facts of the recordings, as the first embedding that knows them has them."""
    known: dict[str, _Facts] = {}
    for name in store.embeddings:
        facts = store.facts(name)
        for i, key in enumerate(store.clips(name).keys()):
            if key in paths and facts["size_bytes"][i]:
                numbers = int(facts["size_bytes"][i]), int(facts["mtime_ns"][i])
                known.setdefault(key, _Facts(*numbers, facts["content_hash"][i].decode()))
    return known


def _notes(reported: int, located: int, data: Path | None) -> tuple[str, ...]:
    if located == reported:
        return ()
    cure = "" if data else "; --data DATA names their folder"
    limit = f"at most {MOST_CLIPS:,} are read, " if reported > MOST_CLIPS else ""
    return (
        f"where it deviates is stated for {located:,} of {counted(reported, 'reported clip')}: {limit}others were "
        f"not found, have changed or are not readable{cure}",
    )
