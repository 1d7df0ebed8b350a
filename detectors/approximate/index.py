"""Approximate nearest neighbours: a faiss index proposes rows of a bank, and exact distances order them.

A row that the index does not propose is not found, so report a result with the recall that `recall.py` measures.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.approximate.copies import Copies
from detectors.approximate.kinds import copy_to_gpu, kind_named, limit_threads, search_parameters, train_index
from detectors.geometry import unit
from detectors.search.neighbours import Bank, check_search, nearest
from detectors.search.plain import nearest_of_pairs, pair_distances

GPU_MAX = 2048
"""Most rows and probes per query that faiss supports on a GPU."""

QUERIES = 1024
"""Queries that are searched at a time."""


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
        rows = padded(directions(bank.rows, copies.first), spec.width)
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
        queries, exclude = check_search(queries, self.bank, k, exclude)
        rerank = self.kind.rerank if rerank is None else rerank
        if rerank < 0:
            raise ValueError(f"expected rerank of at least 0 rows per neighbour, got {rerank}")
        wanted = k + int((exclude >= 0).any())
        length = rerank * wanted + 16 if rerank else wanted
        distance, row = np.full((len(queries), k), np.inf), np.full((len(queries), k), -1)
        with limit_threads(self.threads):
            for start in range(0, len(queries) if length < len(self.copies.start) else 0, QUERIES):
                part = slice(start, start + QUERIES)
                units = unit(queries[part])
                query, proposed, exact = self._proposed(units, wanted, length, probes)
                if rerank:
                    exact = self._distances(units, query, proposed)
                keep = proposed != exclude[part][query]
                distance[part], row[part] = nearest_of_pairs(query[keep], proposed[keep], exact[keep], (len(units), k))
        missing = np.flatnonzero(row[:, -1] < 0)
        if len(missing):
            distance[missing], row[missing] = nearest(queries[missing], self.bank, k, exclude=exclude[missing])
        return distance, row

    def _proposed(
        self, units: np.ndarray, k: int, length: int, probes: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Queries (that are not zero), bank rows and the index's distances of proposed pairs, by query and row.

        Every row comes with its copies, up to k of them.
        """
        nonzero = np.flatnonzero(units.any(axis=1))
        if not len(nonzero):
            return nonzero, nonzero, units[:0, 0]
        values, distinct = self.search(units[nonzero].astype(np.float32), length, probes)
        query, column = np.nonzero((distinct >= 0) & (distinct < len(self.copies.start)))
        row, entry = self.copies.rows_of(distinct[query, column], k)
        distance = np.clip(values[query, column][entry].astype(np.float64) / 2, 0.0, 2.0)
        order = np.lexsort((row, query[entry]))
        return nonzero[query[entry]][order], row[order], distance[order]

    def _distances(self, units: np.ndarray, query: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Exact distances of pairs of unit queries and bank rows."""
        used, at = np.unique(row, return_inverse=True)
        return pair_distances(self.bank.distance, units, query, unit(self.bank.rows[used]), at.reshape(-1))

    def search(self, queries: np.ndarray, length: int, probes: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances (m, length), rising, and numbers of distinct rows, -1 where the index finds no more."""
        too_many = max(length, probes or 0) > GPU_MAX
        index = self.index if self._on_gpu is None or too_many else self._on_gpu.index
        values, rows = index.search(padded(queries, index.d), length, params=search_parameters(self.kind, probes))
        return values, rows


def prepare(bank: Bank, kind: str, seed: int) -> tuple[Copies, IndexSpec]:
    """The distinct rows of a bank that are not zero, and the spec of an index of them."""
    copies = Copies.of(bank.rows)
    copies = copies.where(np.asarray(bank.rows.any(axis=1))[copies.first])
    width = -(-bank.rows.shape[1] // 4) * 4
    return copies, IndexSpec(kind, kind_named(kind).factory(len(copies.start), width), width, seed)


def directions(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Some rows scaled to length 1, float32."""
    out = np.empty((len(at), rows.shape[1]), dtype=np.float32)
    for start in range(0, len(at), QUERIES):  # float64 rows of all would take twice the memory
        out[start : start + QUERIES] = unit(rows[at[start : start + QUERIES]])
    return out


def padded(X: np.ndarray, width: int) -> np.ndarray:
    """Rows of X extended with zeros to `width` columns, which changes no distance."""
    return np.pad(X, ((0, 0), (0, width - X.shape[1]))) if X.shape[1] < width else np.ascontiguousarray(X)
