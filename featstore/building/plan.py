"""The plan of a build: compare the recordings on disk with the rows of the store and cut the difference into units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore.audio.hashes import content_hash
from featstore.audio.read import UNREADABLE
from featstore.clip import Clip
from featstore.store import EmbeddingInfo, FeatureStore
from featstore.table import decode

TEXT_BYTES_PER_CLIP = 400  # estimate for the text and fact columns of a row; used for the free-space check


@dataclass(frozen=True)
class FileState:
    """Size and modification time of a recording; (-1, -1) when they cannot be read."""

    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """State of the file at `path`."""
        try:
            info = path.stat()
        except OSError:
            return cls(-1, -1)
        return cls(info.st_size, info.st_mtime_ns)


def states_of(root: Path, clips: Sequence[Clip]) -> tuple[FileState, ...]:
    """State of every clip's recording below `root`; a recording with many windows is looked at once."""
    recordings = [clip.recording for clip in clips]
    states = {recording: FileState.of(root / recording) for recording in dict.fromkeys(recordings)}
    return tuple(states[recording] for recording in recordings)


@dataclass(frozen=True)
class Unit:
    """Clips (positions in the list of clips) and the embeddings that lack them; becomes one shard per embedding."""

    clips: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Units to compute and, per embedding, the numbers of new, changed and kept rows.

    gone: keys per embedding whose recording no longer exists. relabelled: positions per embedding of kept clips with
    changed metadata, such as a label that was published later. anomalies: number of the clips to read that are
    generated anomalies.
    """

    units: tuple[Unit, ...]
    states: tuple[FileState, ...]
    new: Mapping[str, int]
    changed: Mapping[str, int]
    kept: Mapping[str, int]
    gone: Mapping[str, tuple[str, ...]]
    relabelled: Mapping[str, Sequence[int]]
    anomalies: int = 0

    @property
    def clips(self) -> int:
        """Number of clips to read."""
        return sum(len(unit.clips) for unit in self.units)

    def bytes_needed(self, infos: Sequence[EmbeddingInfo]) -> int:
        """Estimated disk space of the new rows."""
        per_row = [int(np.prod(info.shape)) * np.dtype(info.dtype).itemsize + TEXT_BYTES_PER_CLIP for info in infos]
        return sum(len(unit.clips) * sum(per_row[i] for i in unit.wanted) for unit in self.units)


@dataclass(frozen=True)
class PlanOptions:
    """How to compare recordings and cut units.

    unit_clips: clips per shard, the maximum that a crash can lose. rehash: compare file contents, not only size and
    time. retry_rejected: read the rejected recordings again.
    """

    unit_clips: int = 512
    rehash: bool = False
    retry_rejected: bool = False


def make_plan(
    root: Path, clips: Sequence[Clip], names: Sequence[str], store: FeatureStore | None, options: PlanOptions
) -> Plan:
    """Units for every clip that some embedding of `names` lacks, in the order of `clips`.

    A recording is unchanged when size and modification time are the same as in its row. When only the time differs, or
    always with `rehash`, the content hash decides.
    """
    states = states_of(root, clips)
    missing: list[list[int]] = [[] for _ in clips]
    new, changed, kept, gone = {}, {}, {}, {}
    relabelled: dict[str, list[int]] = {name: [] for name in names}
    hashes: dict[Path, str] = {}
    for position, name in enumerate(names):
        known, live = _known(store, name, with_rejected=not options.retry_rejected)
        counts = {"new": 0, "changed": 0, "kept": 0}
        for i, clip in enumerate(clips):
            row = known.get(clip.key)
            kind = "new" if row is None else _compare(root / clip.recording, states[i], row, hashes, options.rehash)
            counts[kind] += kind != "kept" or clip.key in live  # a kept rejection is not a row
            if kind != "kept":
                missing[i].append(position)
            elif clip.key in live and live[clip.key] != clip:
                relabelled[name].append(i)
        new[name], changed[name], kept[name] = counts["new"], counts["changed"], counts["kept"]
        listed = {clip.key for clip in clips}  # a generated variant stays as long as its recording is listed
        gone[name] = tuple(sorted(key for key, clip in live.items() if not {key, clip.path} & listed))
    anomalies = sum(bool(clip.variant and lacking) for clip, lacking in zip(clips, missing, strict=True))
    return Plan(_cut(missing, options.unit_clips), states, new, changed, kept, gone, relabelled, anomalies)


@dataclass(frozen=True)
class _Row:
    size_bytes: int
    mtime_ns: int
    content_hash: str


def _known(store: FeatureStore | None, name: str, *, with_rejected: bool) -> tuple[dict[str, _Row], dict[str, Clip]]:
    """Stored file facts of an embedding's recordings, optionally also the rejected ones, and its live clips; by key."""
    if store is None or name not in store.embeddings:
        return {}, {}
    known = {}
    if with_rejected:
        permanent = [item for item in store.rejected(name) if not item.reason.startswith(UNREADABLE)]
        known = {item.key: _Row(item.size_bytes, item.mtime_ns, item.content_hash) for item in permanent}
    facts = store.facts(name)
    live = {clip.key: clip for clip in store.clips(name)}
    columns = (facts["size_bytes"].tolist(), facts["mtime_ns"].tolist(), decode(facts["content_hash"]))
    for key, size, mtime, digest in zip(live, *columns, strict=True):
        known[key] = _Row(size, mtime, digest)
    return known, live


def _compare(path: Path, state: FileState, row: _Row, hashes: dict[Path, str], rehash: bool) -> str:
    """Compare a file with its row: "kept" or "changed"; hashes: content hashes of files, completed here."""
    same_size = state.size_bytes == row.size_bytes
    if same_size and state.mtime_ns == row.mtime_ns and not rehash:
        return "kept"
    if not same_size or not row.content_hash:
        return "kept" if same_size and rehash and state.mtime_ns == row.mtime_ns else "changed"
    if path not in hashes:
        try:
            hashes[path] = content_hash(path)
        except OSError:
            hashes[path] = ""
    return "kept" if hashes[path] == row.content_hash else "changed"


def _cut(missing: Sequence[Sequence[int]], size: int) -> tuple[Unit, ...]:
    """Groups of at most `size` clips that lack the same embeddings, in order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, wanted in enumerate(missing):
        if wanted:
            groups.setdefault(tuple(wanted), []).append(i)
    return tuple(
        Unit(tuple(group[start : start + size]), wanted)
        for wanted, group in groups.items()
        for start in range(0, len(group), size)
    )
