"""Rewrite shards without superseded rows, and merge small ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore.disk.manifest import Manifest, ShardEntry, live_mask
from featstore.disk.parts import MAX_BYTES, MAX_ROWS
from featstore.disk.shard import FACTS, Rejection, ShardData
from featstore.store import FeatureStore, StoreWriter
from featstore.table import ClipTable
from featstore.terminal.shown import counted

_EMPTY_BYTES = 10960
"""Size of a shard without rows."""


@dataclass(frozen=True)
class Compaction:
    """Numbers of shards and bytes before and after, and of superseded rows and rejections removed."""

    shards_before: int
    shards_after: int
    bytes_before: int
    bytes_after: int
    superseded: int

    def __str__(self) -> str:
        return (
            f"{self.shards_before:,} -> {counted(self.shards_after, 'shard')}, {self.bytes_before:,} -> "
            f"{self.bytes_after:,} bytes, {counted(self.superseded, 'superseded row')} dropped"
        )


def compact(path: str | Path, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> Compaction:
    """Merge the shards of the store at `path` into as few as the limits allow; rows keep their order and values.

    Each group of shards is replaced in one manifest, so an interruption loses nothing. Needs free space for one new
    shard. Readers that opened the store earlier may have to open it again. Raises StoreError when there is no store.
    """
    FeatureStore.open(path)  # raises for a wrong path, where StoreWriter would create a store
    with StoreWriter(path) as writer:
        before = writer.store.manifest
        for name in sorted(before.embeddings):
            for group in groups(writer.store.entries(name), max_rows=max_rows, max_bytes=max_bytes):
                merged = _merged(writer.store, name, group)
                writer.replace_shards(name, [entry.file for entry in group], merged)
                writer.remove_unnamed(keep=1)
        writer.remove_unnamed(keep=1)
        after = writer.store.manifest
    superseded = sum(len(entry.dropped) + len(entry.cleared) for entry in before.shards)
    return Compaction(len(before.shards), len(after.shards), _bytes(before), _bytes(after), superseded)


def groups(entries: Sequence[ShardEntry], *, max_rows: int, max_bytes: int) -> list[list[ShardEntry]]:
    """Runs of neighbouring shards to rewrite as one: several small shards, or one with superseded rows."""
    runs: list[list[ShardEntry]] = []
    for entry in entries:
        run = [*runs[-1], entry] if runs else []
        if run and _live(run) <= max_rows and _widest_row(run) * _live(run) <= max_bytes:
            runs[-1] = run
        else:
            runs.append([entry])
    return [run for run in runs if len(run) > 1 or run[0].dropped or run[0].cleared]


def _live(run: Sequence[ShardEntry]) -> int:
    return sum(entry.live_rows + entry.live_rejected for entry in run)


def _widest_row(run: Sequence[ShardEntry]) -> int:
    """Bytes per row of the widest shard; a merged text column is as wide as its longest text."""
    return max((entry.bytes - _EMPTY_BYTES) // max(entry.rows + entry.rejected, 1) for entry in run)


def _bytes(manifest: Manifest) -> int:
    return sum(entry.bytes for entry in manifest.shards)


def _merged(store: FeatureStore, name: str, group: Sequence[ShardEntry]) -> list[ShardData]:
    info = store.info(name)
    clips: list[ClipTable] = []
    facts: dict[str, list[np.ndarray]] = {fact: [] for fact in FACTS}
    rejected: list[Rejection] = []
    matrix = np.empty((sum(entry.live_rows for entry in group), *info.shape), dtype=info.dtype)
    filled = 0
    for entry in group:
        keep = live_mask(entry.rows, entry.dropped)
        with store.open_shard(entry) as shard:
            matrix[filled : filled + entry.live_rows] = shard.matrix()[keep]
            clips.append(shard.clips()[keep])
            for fact, values in shard.facts().items():
                facts[fact].append(values[keep])
            live = live_mask(entry.rejected, entry.cleared)
            rejected += [item for item, is_live in zip(shard.rejected(), live, strict=True) if is_live]
        filled += entry.live_rows
    if not filled and not rejected:
        return []
    columns = {fact: np.concatenate(parts) for fact, parts in facts.items()}
    return [ShardData(info, ClipTable.concatenate(clips), matrix, columns, rejected)]
