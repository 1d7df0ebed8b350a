"""How an archive run reads a store: shard by shard, in units, with keys that are compared by their hashes."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featstore.clip import VARIANT_MARK
from featstore.disk.manifest import ShardEntry, live_mask
from featstore.disk.shard import finite_rows
from featstore.errors import DataError, RequestError, StoreError
from featstore.store import FeatureStore
from featstore.table import ClipTable, decode

Group = tuple[str, ...]
"""The clips that share a bank, named by their values in the columns of `--per`."""

ClipFilter = Callable[[ClipTable], np.ndarray]
"""Computes the mask of the clips that are read."""


@dataclass(frozen=True)
class Source:
    """An embedding of a store: one view of it, or all views joined."""

    store: FeatureStore
    embedding: str
    view: str = ""

    @classmethod
    def of(cls, store: FeatureStore, text: str | None) -> "Source":
        """The source named `NAME[@VIEW]`, by default the only embedding; RequestError where it does not exist."""
        names = sorted(store.embeddings)
        if not text and len(names) != 1:
            raise RequestError(f"{store.path} has {len(names)} embeddings ({', '.join(names)}); choose one with -e")
        name, _, view = (text or names[0]).partition("@")
        views = store.info(name).views
        if view and view not in views:
            raise RequestError(f"{store.path}: {name} has no view {view!r}; its views: {', '.join(views) or 'none'}")
        return cls(store, name, view)

    @property
    def name(self) -> str:
        """The text that `of` reads."""
        return f"{self.embedding}@{self.view}" if self.view else self.embedding

    @property
    def d(self) -> int:
        """Dimensions of a row."""
        shape = self.store.info(self.embedding).shape
        return shape[-1] if self.view else int(np.prod(shape))

    def rows(self, matrix: np.ndarray) -> np.ndarray:
        """The rows (n, d), float32, of a stored matrix."""
        info = self.store.info(self.embedding)
        rows = matrix[:, info.views.index(self.view)] if self.view else matrix.reshape(len(matrix), self.d)
        return np.ascontiguousarray(rows, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of some shards: clips, content hashes where known, and vectors (n, d) unless they were left out."""

    clips: ClipTable
    content: np.ndarray
    vectors: np.ndarray | None

    def keys(self) -> np.ndarray:
        """Keys as fixed-width bytes."""
        path, variant = self.clips.columns["path"], self.clips.columns["variant"]
        if not recordings(self.clips).all():
            marked = np.char.add(np.char.add(path, VARIANT_MARK.encode()), variant)
            path = np.where(variant != b"", marked, path)
        return np.asarray(path)


def recordings(clips: ClipTable) -> np.ndarray:
    """Mask of the recordings, that is, all clips but generated anomalies."""
    return np.asarray(clips.columns["variant"] == b"")


def normal_training(clips: ClipTable) -> np.ndarray:
    """Mask of the training recordings that are not labelled anomaly."""
    mask: np.ndarray = recordings(clips) & clips.where(split="train") & ~clips.where(label="anomaly")
    return mask


def read_block(
    source: Source, entries: Sequence[ShardEntry], clip_filter: ClipFilter, *, vectors: bool = True
) -> Block:
    """The rows of some shards whose clips pass `clip_filter`."""
    tables, content, rows = [], [], []
    for entry in entries:
        with source.store.open_shard(entry) as shard:
            keep = live_mask(entry.rows, entry.dropped)
            clips = shard.clips()
            keep &= clip_filter(clips)
            all_kept = bool(keep.all())
            tables.append(clips if all_kept else clips[keep])
            content.append(shard.content_hashes()[keep])
            if vectors:
                matrix = source.rows(shard.matrix())
                if not finite_rows(matrix).all():
                    raise StoreError(f"{source.store.path}: {entry.file} has values that are not finite")
                rows.append(matrix if all_kept else matrix[keep])
    joined = None
    if vectors:
        joined = np.concatenate(rows) if len(rows) != 1 else rows[0]
    return Block(ClipTable.concatenate(tables), np.concatenate(content), joined)


def groups_of(clips: ClipTable, per: Sequence[str]) -> list[tuple[Group, np.ndarray | slice]]:
    """Every group of the clips with its rows; a slice where these are consecutive."""
    n = len(clips)
    change = np.zeros(max(n - 1, 0), dtype=bool)
    for name in per:
        column = clips.columns[name]
        change |= column[1:] != column[:-1]
    starts = np.concatenate([[0], np.flatnonzero(change) + 1]) if n else np.zeros(0, dtype=np.intp)
    names = (
        list(zip(*(decode(clips.columns[name][starts]) for name in per), strict=True)) if per else [()] * len(starts)
    )
    ends = np.concatenate([starts[1:], [n]]) if n else starts
    runs: dict[Group, list[slice]] = {}
    for group, start, end in zip(names, starts.tolist(), ends.tolist(), strict=True):
        runs.setdefault(group, []).append(slice(start, end))
    return [(group, rows[0] if len(rows) == 1 else np.r_[tuple(rows)]) for group, rows in sorted(runs.items())]


def key_hashes(keys: np.ndarray) -> np.ndarray:
    """64-bit hash of every key; it does not depend on the width of the column."""
    from detectors.search.kernels import hash_texts

    texts = np.ascontiguousarray(keys)
    width = max(texts.dtype.itemsize, 1)
    hashes: np.ndarray = hash_texts(texts.view(np.uint8).reshape(len(texts), width))
    return hashes


@dataclass(frozen=True)
class Unit:
    """Shards whose rows become one result file; `id` is a hash of their content and of the job."""

    index: int
    entries: tuple[ShardEntry, ...]
    id: str

    @property
    def rows(self) -> int:
        """Number of rows that are not dropped, including generated anomalies."""
        return sum(entry.live_rows for entry in self.entries)

    @property
    def file(self) -> str:
        """Name of the result file."""
        return f"part-{self.index:06d}-{self.id}.parquet"


def cut(source: Source, job: str, rows: int) -> list[Unit]:
    """The archive in units of at least `rows` rows (except the last), in store order.

    When an archive grows, its last unit changes and others are added; the rest keep their ids. `job` is a hash of
    everything else that the results depend on. DataError for an archive without rows.
    """
    units: list[Unit] = []
    pending: list[ShardEntry] = []
    entries = [entry for entry in source.store.entries(source.embedding) if entry.live_rows]
    for i, entry in enumerate(entries):
        pending.append(entry)
        if i == len(entries) - 1 or sum(shard.live_rows for shard in pending) >= rows:
            content = "".join(f"{shard.sha256}{shard.dropped}" for shard in pending)
            digest = hashlib.sha256(f"{job}\0{content}".encode()).hexdigest()[:16]
            units.append(Unit(len(units), tuple(pending), digest))
            pending = []
    if not units:
        raise DataError(f"{source.store.path}: {source.embedding} has no rows to score")
    return units


def content_of(source: Source) -> str:
    """Hash of all rows of an embedding, their clips and the fingerprint of its embedder."""
    info = source.store.info(source.embedding)
    entries = "".join(f"{entry.sha256}{entry.dropped}" for entry in source.store.entries(source.embedding))
    return hashlib.sha256(f"{info.fingerprint}\0{source.view}\0{entries}".encode()).hexdigest()


def batches(units: Sequence[Unit], rows: int) -> Iterator[list[Unit]]:
    """Consecutive units with at most `rows` rows in total, or single larger ones."""
    batch: list[Unit] = []
    for unit in units:
        if batch and sum(earlier.rows for earlier in batch) + unit.rows > rows:
            yield batch
            batch = []
        batch.append(unit)
    if batch:
        yield batch
