"""Rows of recordings that are no longer in the folder: those that were moved or renamed, and the others."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featstore.clip import Clip
from featstore.store import FeatureStore, StoreWriter
from featstore.table import decode


@dataclass(frozen=True)
class Gone:
    """Keys per embedding of the rows whose recording is no longer in the folder, and what became of them.

    moved: recordings that are in the folder under another path; their old rows are dropped and not among `keys`.
    training: recordings among `keys` that detectors learn from.
    """

    keys: Mapping[str, Sequence[str]]
    moved: int = 0
    training: int = 0


def settle_gone(
    writer: StoreWriter, root: Path, clips: Sequence[Clip], gone: Mapping[str, Sequence[str]], *, same_root: bool
) -> Gone:
    """Drop the rows of old paths, variants included, whose recording is listed in `clips` under another path.

    gone: keys per embedding whose recording is not listed. same_root: whether the store was last built from `root`;
    the rows of another folder stay. So does the row of a recording that still exists, such as one that a list leaves
    out.
    """
    moved, rest, training = set[str](), dict[str, list[str]](), set[str]()
    listed = {clip.path for clip in clips}
    for name, keys in gone.items():
        if not keys:
            continue
        rows = _Rows(writer.store, name, set(keys))
        old = rows.moved(lambda path: not os.path.lexists(root / path), listed) if same_root else set()
        dropped = {key for key, clip in rows.gone.items() if clip.recording in old}
        if dropped:
            writer.remove(name, dropped)
        rest[name] = [key for key in keys if key not in dropped]
        moved |= old
        training |= {rows.gone[key].recording for key in rest[name] if _trains(rows.gone[key])}
    return Gone(rest, len(moved), len(training))


class _Rows:
    """The clips of an embedding that are gone, by key, and the content hash of every recording in the store."""

    def __init__(self, store: FeatureStore, name: str, keys: set[str]) -> None:
        clips = list(store.clips(name))
        self.gone = {clip.key: clip for clip in clips if clip.key in keys}
        hashes = decode(store.facts(name)["content_hash"])
        self.hashes = {clip.path: digest for clip, digest in zip(clips, hashes, strict=True) if not clip.variant}

    def moved(self, is_missing: Callable[[str], bool], listed: set[str]) -> set[str]:
        """Recordings that are gone, missing on disk, and have the content of a listed one."""
        contents = {digest for path, digest in self.hashes.items() if digest and path in listed}
        return {
            clip.recording
            for clip in self.gone.values()
            if self.hashes.get(clip.path) in contents and is_missing(clip.recording)
        }


def _trains(clip: Clip) -> bool:
    return clip.split == "train" and clip.label != "anomaly"
