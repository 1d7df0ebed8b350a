"""Approximate nearest neighbours: faiss proposes rows of one bank, exact distances order what it proposes.

What an index leaves out is never found, so an answer is nothing without the recall that `approximate_recall` measures.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.approximate.copies import Copies
from detectors.approximate.kinds import kind_named, limited, on_gpu, search_parameters, trained
from detectors.search.neighbours import Bank, Best, measured, nearest
from detectors.search.shortlist import TILE, Pairs

GPU_LONGEST = 2048
"""Rows and probes that faiss serves per query on a GPU."""


@dataclass(frozen=True)
class Recipe:
    """All that an index follows from, beside the rows: its kind, the text that faiss makes it by, and the seed."""

    kind: str
    factory: str
    width: int
    """Dimensions in the index: a multiple of four, which product quantisers can divide."""
    seed: int


class ApproximateIndex:
    """An index over one bank; `build` makes it, `approximate_cache` keeps it."""

    def __init__(self, bank: Bank, copies: Copies, recipe: Recipe, index: Any, threads: int) -> None:
        self.bank, self.copies, self.recipe, self.index, self.threads = bank, copies, recipe, index, threads
        self.kind = kind_named(recipe.kind)
        self._on_gpu: Any = None if index is None else on_gpu(index, self.kind)

    @classmethod
    def build(
        cls, bank: Bank, kind: str, *, seed: int = 0, threads: int = 1, factory: str | None = None
    ) -> "ApproximateIndex":
        """Train and fill an index of a kind of `approximate_kinds.KINDS`, on one thread the same every time.

        Zero rows, which have no direction, stay outside, and so do all but the first of equal rows. `factory` is a
        text for faiss.index_factory in place of the kind's own. ValueError for an unknown kind.
        """
        copies, recipe = prepared(bank, kind, seed)
        recipe = replace(recipe, factory=factory or recipe.factory)
        every = len(copies.start) == len(bank.rows)  # saves a copy of the bank
        rows = padded(bank.directions if every else bank.directions[copies.first], recipe.width)
        with limited(threads if kind_named(kind).any_threads else 1):
            index = trained(recipe.factory, rows, seed) if len(rows) else None
        return cls(bank, copies, recipe, index, threads)

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        *,
        exclude: np.ndarray | None = None,
        probes: int | None = None,
        rerank: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `neighbours.nearest`, but among the rows that the index proposes.

        `probes` is how many lists (ivf, ivfpq) are read or how many rows (hnsw) are kept in sight; `rerank` how many
        candidates per neighbour are measured exactly, at 0 none: distances are then those of the index. Queries
        without a direction, and those for which the index finds fewer than k rows, are searched exactly.
        """
        best = Best(queries, exclude, k)
        best.check(self.bank)
        finder = _Proposals(self, k + int((best.exclude >= 0).any()), probes, rerank)
        if finder.length < len(self.copies.start):
            with limited(self.threads):
                for start in range(0, len(best.queries), TILE):
                    best.take_part(finder, slice(start, start + TILE), 0)
        lost = np.flatnonzero(best.row[:, -1] < 0)
        if len(lost):
            best.distance[lost], best.row[lost] = nearest(best.queries[lost], self.bank, k, exclude=best.exclude[lost])
        return best.distance, best.row

    def listed(self, queries: np.ndarray, length: int, probes: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances (m, length), rising, and distinct rows, -1 where none was found."""
        beyond = max(length, probes or 0) > GPU_LONGEST
        index = self.index if self._on_gpu is None or beyond else self._on_gpu.index
        values, rows = index.search(padded(queries, index.d), length, params=search_parameters(self.kind, probes))
        return values, rows


class _Proposals:
    """Candidates out of an index: their presence is trusted, their order only where nothing is measured."""

    def __init__(self, index: ApproximateIndex, kept: int, probes: int | None, rerank: int | None) -> None:
        self.block, self.index, self.kept, self.probes = index.bank, index, kept, probes
        self.rerank = index.kind.rerank if rerank is None else rerank
        if self.rerank < 0:
            raise ValueError(f"expected rerank of at least 0 candidates per neighbour, got {rerank}")
        self.length = self.rerank * kept + 16 if self.rerank else kept

    def candidates(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        """Rows that the index proposes to the queries that have a direction."""
        aimed = np.flatnonzero(queries.any(axis=1))
        if not len(aimed):
            return Pairs.joined([])
        values, distinct = self.index.listed(queries[aimed], self.length, self.probes)
        query, column = np.nonzero((distinct >= 0) & (distinct < len(self.index.copies.start)))
        row, which = self.index.copies.all_of(distinct[query, column], self.kept)
        return Pairs(aimed[query[which]], row, 1 - values[query, column][which] / 2)

    def distances(self, queries: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Exact distances, or what the index makes of them."""
        if self.rerank:
            return measured(queries, self.block, pairs)
        return np.clip(1.0 - pairs.product.astype(np.float64), 0.0, 2.0)


def prepared(bank: Bank, kind: str, seed: int) -> tuple[Copies, Recipe]:
    """The distinct rows of a bank that have a direction, and how an index of them is made."""
    copies = Copies.of(bank.rows)
    copies = copies.where(bank.directed[copies.first])
    width = -(-bank.rows.shape[1] // 4) * 4
    return copies, Recipe(kind, kind_named(kind).factory(len(copies.start), width), width, seed)


def padded(X: np.ndarray, width: int) -> np.ndarray:
    """Rows with zeros added, which changes no distance."""
    return np.pad(X, ((0, 0), (0, width - X.shape[1]))) if X.shape[1] < width else np.ascontiguousarray(X)
