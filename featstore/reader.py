"""FeatureStore: a read-only snapshot of the embeddings on disk."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from featstore.disk.files import read_regular
from featstore.disk.leftovers import is_aside
from featstore.disk.manifest import Manifest, ShardEntry, live_mask, numbered
from featstore.disk.newest import find_newest
from featstore.disk.shard import FACTS, MAX_SHARD_BYTES, EmbeddingInfo, Rejection, Shard, open_image
from featstore.errors import RequestError, StoreError
from featstore.spec import did_you_mean
from featstore.table import ClipTable

SHARED_FIELDS = ("fingerprint", "shape", "dtype", "channel", "length", "sample_rate_hz", "views")
"""Fields of EmbeddingInfo that are equal for all rows of one embedding."""
REPAIR = "remove it with featstore repair, then build again to replace its rows"


class Compacted(StoreError):
    """Raised for a shard of a snapshot that is missing while there are newer manifests."""


@dataclass(frozen=True)
class _Tables:
    clips: ClipTable
    facts: dict[str, np.ndarray]
    rejected: list[Rejection]


class FeatureStore:
    """The store as its newest valid manifest describes it; later commits do not change the values it returns.

    Opening takes no lock. Every read checks the shard's SHA-256, so returned numbers are the numbers that were stored.
    warnings: the damaged manifests that were skipped, and a published state that is missing.
    """

    def __init__(self, path: Path, manifest: Manifest, warnings: tuple[str, ...] = ()) -> None:
        self.path = path
        self.manifest = manifest
        self.warnings = warnings
        self._tables: dict[str, _Tables] = {}

    @classmethod
    def open(cls, path: str | Path) -> "FeatureStore":
        """Snapshot of the store at `path`; StoreError when there is no store, or no intact manifest in it."""
        root = Path(path)
        newest = find_newest(root)
        return cls(root, newest.manifest, newest.warnings)

    @property
    def embeddings(self) -> Mapping[str, EmbeddingInfo]:
        """Description of every embedding, by name."""
        return MappingProxyType(dict(self.manifest.embeddings))

    def info(self, name: str) -> EmbeddingInfo:
        """Description of one embedding; RequestError lists the names in the store when `name` is unknown."""
        known = self.manifest.embeddings
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise RequestError(f"{self.path} has no embedding {name!r}; it has {has}{did_you_mean(name, known)}")
        return known[name]

    def entries(self, name: str) -> list[ShardEntry]:
        """The shards of one embedding, in row order."""
        self.info(name)
        return [entry for entry in self.manifest.shards if entry.embedding == name]

    def rows(self, name: str) -> int:
        """Number of rows of one embedding."""
        return sum(entry.live_rows for entry in self.entries(name))

    def clips(self, name: str) -> ClipTable:
        """The clip of every row."""
        return self._table(name).clips

    def facts(self, name: str) -> dict[str, np.ndarray]:
        """Facts about the recording of every row, one column per name of `shard.FACTS`."""
        return dict(self._table(name).facts)

    def rejected(self, name: str) -> list[Rejection]:
        """Recordings without a row, each with the reason."""
        return list(self._table(name).rejected)

    def matrix(self, name: str, where: np.ndarray | None = None) -> np.ndarray:
        """Embeddings as float32 (n, *shape); `where` is a boolean mask over `clips(name)`."""
        n = self.rows(name)
        if where is not None and (where.shape != (n,) or where.dtype != np.bool_):
            raise ValueError(f"where: expected a boolean mask of {n} rows, got {where.dtype} of shape {where.shape}")
        out = np.empty((n if where is None else int(where.sum()), *self.info(name).shape), dtype=np.float32)
        start = filled = 0
        for entry in self.entries(name):
            keep = live_mask(entry.rows, entry.dropped)
            if where is not None:
                chosen = where[start : start + entry.live_rows]
                start += entry.live_rows
                keep[keep] = chosen
            count = int(keep.sum())
            if count:
                self._fill(entry, keep, out[filled : filled + count])
            filled += count
        return out

    def blocks(self, name: str, n_rows: int) -> Iterator[tuple[ClipTable, np.ndarray]]:
        """All rows in order as (clips, float32 matrix), `n_rows` at a time (the last block may have fewer).

        Holds only one block and one shard in memory.
        """
        if n_rows < 1:
            raise ValueError(f"a block needs at least one row, got n_rows={n_rows}")
        left, shape = self.rows(name), self.info(name).shape
        tables: list[ClipTable] = []
        block, filled = np.empty((min(n_rows, left), *shape), dtype=np.float32), 0
        for clips, rows in self._live_rows(name):
            taken = 0
            while taken < len(rows):
                step = min(len(block) - filled, len(rows) - taken)
                block[filled : filled + step] = rows[taken : taken + step]
                tables.append(clips[taken : taken + step])
                filled, taken = filled + step, taken + step
                if filled == len(block):
                    yield ClipTable.concatenate(tables), block
                    left -= filled
                    tables, block, filled = [], np.empty((min(n_rows, left), *shape), dtype=np.float32), 0

    def shards(self, name: str) -> Iterator[tuple[ShardEntry, Shard]]:
        """The shards of one embedding, opened and checked one at a time."""
        for entry in self.entries(name):
            with self.open_shard(entry) as shard:
                yield entry, shard

    @contextmanager
    def open_shard(self, entry: ShardEntry) -> Iterator[Shard]:
        """One shard, opened after a check of its size, checksum and structure against the manifest."""
        path = self.path / "shards" / entry.file
        with open_image(self._image(path, entry), str(path)) as shard:
            differing = differing_fields(shard.info, self.manifest.embeddings[entry.embedding])
            counts = (shard.n_rows, shard.n_rejected)
            if differing or shard.info.name != entry.embedding or counts != (entry.rows, entry.rejected):
                raise StoreError(
                    f"{path} does not match its manifest ({differing or counts}); check the store with featstore verify"
                )
            yield shard

    def _image(self, path: Path, entry: ShardEntry) -> bytes:
        try:
            image = read_regular(path, min(entry.bytes, MAX_SHARD_BYTES))
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise StoreError(f"{self.path} was removed while it was read; check the path") from error
            if max(numbered(self.path), default=0) > self.manifest.number:
                raise Compacted(f"{path} was removed when the store was compacted; open the store again") from error
            if is_aside(path):
                raise StoreError(f"{path} is set aside by a writer; the next featstore build puts it back") from error
            raise StoreError(f"{path} is missing; {REPAIR}") from error
        if len(image) != entry.bytes or hashlib.sha256(image).hexdigest() != entry.sha256:
            raise StoreError(f"{path} is damaged: its {len(image)} bytes do not match the committed checksum; {REPAIR}")
        return image

    def _fill(self, entry: ShardEntry, keep: np.ndarray, out: np.ndarray) -> None:
        with self.open_shard(entry) as shard:
            if keep.all():
                shard.fill(out)
            else:
                out[...] = shard.matrix()[keep]

    def _live_rows(self, name: str) -> Iterator[tuple[ClipTable, np.ndarray]]:
        for entry, shard in self.shards(name):
            keep = live_mask(entry.rows, entry.dropped)
            yield shard.clips()[keep], shard.matrix()[keep]

    def _table(self, name: str) -> _Tables:
        if name not in self._tables:
            tables: list[ClipTable] = []
            facts: dict[str, list[np.ndarray]] = {fact: [np.zeros(0, dtype=kind)] for fact, kind in FACTS.items()}
            rejected: list[Rejection] = []
            for entry, shard in self.shards(name):
                keep = live_mask(entry.rows, entry.dropped)
                tables.append(shard.clips()[keep])
                for fact, values in shard.facts().items():
                    facts[fact].append(values[keep])
                live = live_mask(entry.rejected, entry.cleared)
                rejected += [item for item, is_live in zip(shard.rejected(), live, strict=True) if is_live]
            columns = {fact: np.concatenate(parts) for fact, parts in facts.items()}
            self._tables[name] = _Tables(ClipTable.concatenate(tables), columns, rejected)
        return self._tables[name]


def differing_fields(first: EmbeddingInfo, second: EmbeddingInfo) -> dict[str, tuple[Any, Any]]:
    """The shared fields in which two descriptions of an embedding differ, with both values."""
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in SHARED_FIELDS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
