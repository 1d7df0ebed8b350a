"""Rows of a store as an archive run reads them: shard by shard, with keys that are compared by their hashes."""

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

Part = tuple[str, ...]
"""What shares a bank: the values of the columns of `--per`."""


Chosen = Callable[[ClipTable], np.ndarray]
"""Mask of the clips that are read."""


@dataclass(frozen=True)
class Source:
    """An embedding of a store, or one view of it; without a view all views joined."""

    store: FeatureStore
    embedding: str
    view: str = ""

    @classmethod
    def of(cls, store: FeatureStore, text: str | None) -> "Source":
        """The source that `NAME[@VIEW]` names; without a text the only embedding. RequestError where there is none."""
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
        """As `of` reads it."""
        return f"{self.embedding}@{self.view}" if self.view else self.embedding

    @property
    def d(self) -> int:
        """Dimensions of a row."""
        shape = self.store.info(self.embedding).shape
        return shape[-1] if self.view else int(np.prod(shape))

    def rows(self, matrix: np.ndarray) -> np.ndarray:
        """Float32 (n, d) out of a matrix as stored."""
        info = self.store.info(self.embedding)
        chosen = matrix[:, info.views.index(self.view)] if self.view else matrix.reshape(len(matrix), self.d)
        return np.ascontiguousarray(chosen, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of some shards: clips, content hashes where known, and vectors (n, d), which may have been left out."""

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
    """Mask of the clips that somebody recorded: no generated anomalies."""
    return np.asarray(clips.columns["variant"] == b"")


def normal_training(clips: ClipTable) -> np.ndarray:
    """Mask of the clips that a bank is made of: training recordings that no label calls an anomaly."""
    mask: np.ndarray = recordings(clips) & clips.where(split="train") & ~clips.where(label="anomaly")
    return mask


def read_block(source: Source, entries: Sequence[ShardEntry], chosen: Chosen, *, vectors: bool = True) -> Block:
    """The rows of some shards that `chosen`, a function of their clips, keeps."""
    tables, content, rows = [], [], []
    for entry in entries:
        with source.store.open_shard(entry) as shard:
            keep = live_mask(entry.rows, entry.dropped)
            clips = shard.clips()
            keep &= chosen(clips)
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


def parts_of(clips: ClipTable, per: Sequence[str]) -> list[tuple[Part, np.ndarray | slice]]:
    """Every part that occurs with its rows; a slice where they lie together."""
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
    runs: dict[Part, list[slice]] = {}
    for part, start, end in zip(names, starts.tolist(), ends.tolist(), strict=True):
        runs.setdefault(part, []).append(slice(start, end))
    return [(part, found[0] if len(found) == 1 else np.r_[tuple(found)]) for part, found in sorted(runs.items())]


def key_hashes(keys: np.ndarray) -> np.ndarray:
    """64 bits of every key, the same for the same text whatever the width of its column."""
    from detectors.search.kernels import hash_texts

    texts = np.ascontiguousarray(keys)
    width = max(texts.dtype.itemsize, 1)
    hashes: np.ndarray = hash_texts(texts.view(np.uint8).reshape(len(texts), width))
    return hashes


@dataclass(frozen=True)
class Unit:
    """Shards whose rows become one file of results; `id` follows from their content and from the job."""

    index: int
    entries: tuple[ShardEntry, ...]
    id: str

    @property
    def rows(self) -> int:
        """Rows that count, generated variants included."""
        return sum(entry.live_rows for entry in self.entries)

    @property
    def file(self) -> str:
        """Name of the file of results."""
        return f"part-{self.index:06d}-{self.id}.parquet"


def cut(source: Source, job: str, rows: int) -> list[Unit]:
    """The archive in units of at least `rows` rows (but for the last), in store order.

    Appending to an archive changes the last unit and adds some; the others keep their ids. `job` stands for everything
    else that results depend on. DataError for an archive without rows.
    """
    units: list[Unit] = []
    pending: list[ShardEntry] = []
    entries = [entry for entry in source.store.entries(source.embedding) if entry.live_rows]
    for i, entry in enumerate(entries):
        pending.append(entry)
        if i == len(entries) - 1 or sum(one.live_rows for one in pending) >= rows:
            content = "".join(f"{one.sha256}{one.dropped}" for one in pending)
            digest = hashlib.sha256(f"{job}\0{content}".encode()).hexdigest()[:16]
            units.append(Unit(len(units), tuple(pending), digest))
            pending = []
    if not units:
        raise DataError(f"{source.store.path}: {source.embedding} has no rows to score")
    return units


def content_of(source: Source) -> str:
    """A digest of all rows of an embedding, their clips and what identifies its embedder."""
    info = source.store.info(source.embedding)
    entries = "".join(f"{entry.sha256}{entry.dropped}" for entry in source.store.entries(source.embedding))
    return hashlib.sha256(f"{info.fingerprint}\0{source.view}\0{entries}".encode()).hexdigest()


def batches(units: Sequence[Unit], rows: int) -> Iterator[list[Unit]]:
    """Consecutive units of at most `rows` rows together, or single ones."""
    batch: list[Unit] = []
    for unit in units:
        if batch and sum(one.rows for one in batch) + unit.rows > rows:
            yield batch
            batch = []
        batch.append(unit)
    if batch:
        yield batch
