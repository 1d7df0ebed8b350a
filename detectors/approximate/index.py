"""Approximate nearest neighbours: a faiss index proposes rows of a bank, and exact distances order them.

A row that the index does not propose is not found, so report a result with the recall that `recall.py` measures.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.approximate.copies import Copies
from detectors.approximate.kinds import copy_to_gpu, kind_named, limit_threads, search_parameters, train_index
from detectors.search.neighbours import Bank, RunningTopK, exact_distances, nearest
from detectors.search.shortlist import TILE, Pairs

GPU_MAX = 2048
"""Most rows and probes per query that faiss supports on a GPU."""


@dataclass(frozen=True)
class IndexSpec:
    """What determines an index beside its rows: kind, text for faiss.index_factory, width and seed."""

    kind: str
    factory: str
    width: int
    """Dimensions of the index: a multiple of four, as product quantisers need."""
    seed: int


class ApproximateIndex:
    """An index over one bank; `build` makes it, and `cache.py` saves and loads it."""

    def __init__(self, bank: Bank, copies: Copies, spec: IndexSpec, index: Any, threads: int) -> None:
        self.bank, self.copies, self.spec, self.index, self.threads = bank, copies, spec, index, threads
        self.kind = kind_named(spec.kind)
        self._on_gpu: Any = None if index is None else copy_to_gpu(index, self.kind)

    @classmethod
    def build(
        cls, bank: Bank, kind: str, *, seed: int = 0, threads: int = 1, factory: str | None = None
    ) -> "ApproximateIndex":
        """Train and fill an index of a kind of `kinds.KINDS`; on one thread, the result is always the same.

        The index holds the first of equal rows and no zero rows. `factory` replaces the kind's text for
        faiss.index_factory. ValueError for an unknown kind.
        """
        copies, spec = prepare(bank, kind, seed)
        spec = replace(spec, factory=factory or spec.factory)
        all_rows = len(copies.start) == len(bank.rows)  # avoids a copy of the bank
        rows = padded(bank.directions if all_rows else bank.directions[copies.first], spec.width)
        with limit_threads(threads if kind_named(kind).any_threads else 1):
            index = train_index(spec.factory, rows, seed) if len(rows) else None
        return cls(bank, copies, spec, index, threads)

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        *,
        exclude: np.ndarray | None = None,
        probes: int | None = None,
        rerank: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `neighbours.nearest`, among the rows that the index proposes.

        `probes` is the number of lists to read (ivf, ivfpq) or of rows to keep in the queue (hnsw). `rerank` is the
        number of proposed rows per neighbour whose distances are computed exactly; with 0, distances are those of the
        index. Zero queries, and queries for which the index finds fewer than k rows, are searched exactly.
        """
        top = RunningTopK(queries, exclude, k)
        top.check_dimensions(self.bank)
        shortlister = _IndexShortlister(self, k + int((top.exclude >= 0).any()), probes, rerank)
        if shortlister.length < len(self.copies.start):
            with limit_threads(self.threads):
                for start in range(0, len(top.queries), TILE):
                    top.add_part(shortlister, slice(start, start + TILE), 0)
        incomplete = np.flatnonzero(top.row[:, -1] < 0)
        if len(incomplete):
            top.distance[incomplete], top.row[incomplete] = nearest(
                top.queries[incomplete], self.bank, k, exclude=top.exclude[incomplete]
            )
        return top.distance, top.row

    def search(self, queries: np.ndarray, length: int, probes: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances (m, length), rising, and numbers of distinct rows, -1 where the index finds no more."""
        too_many = max(length, probes or 0) > GPU_MAX
        index = self.index if self._on_gpu is None or too_many else self._on_gpu.index
        values, rows = index.search(padded(queries, index.d), length, params=search_parameters(self.kind, probes))
        return values, rows


class _IndexShortlister:
    """Shortlists the rows that an index proposes; without `rerank`, their distances are those of the index."""

    def __init__(self, index: ApproximateIndex, k: int, probes: int | None, rerank: int | None) -> None:
        self.block, self.index, self.k, self.probes = index.bank, index, k, probes
        self.rerank = index.kind.rerank if rerank is None else rerank
        if self.rerank < 0:
            raise ValueError(f"expected rerank of at least 0 rows per neighbour, got {rerank}")
        self.length = self.rerank * k + 16 if self.rerank else k

    def shortlist(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        """Pairs of the queries that are not zero and the rows that the index proposes for them."""
        nonzero = np.flatnonzero(queries.any(axis=1))
        if not len(nonzero):
            return Pairs.joined([])
        values, distinct = self.index.search(queries[nonzero], self.length, self.probes)
        query, column = np.nonzero((distinct >= 0) & (distinct < len(self.index.copies.start)))
        row, entry = self.index.copies.rows_of(distinct[query, column], self.k)
        return Pairs(nonzero[query[entry]], row, 1 - values[query, column][entry] / 2)

    def distances(self, queries: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Exact distance of every pair, or that of the index if `rerank` is 0."""
        if self.rerank:
            return exact_distances(queries, self.block, pairs)
        return np.clip(1.0 - pairs.product.astype(np.float64), 0.0, 2.0)


def prepare(bank: Bank, kind: str, seed: int) -> tuple[Copies, IndexSpec]:
    """The distinct rows of a bank that are not zero, and the spec of an index of them."""
    copies = Copies.of(bank.rows)
    copies = copies.where(bank.nonzero[copies.first])
    width = -(-bank.rows.shape[1] // 4) * 4
    return copies, IndexSpec(kind, kind_named(kind).factory(len(copies.start), width), width, seed)


def padded(X: np.ndarray, width: int) -> np.ndarray:
    """Rows of X extended with zeros to `width` columns, which changes no distance."""
    return np.pad(X, ((0, 0), (0, width - X.shape[1]))) if X.shape[1] < width else np.ascontiguousarray(X)
