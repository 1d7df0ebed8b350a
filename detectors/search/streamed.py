"""Exact nearest neighbours of many queries in banks that arrive block by block: a running top k.

The distance of a pair is always computed by the same arithmetic, so the result is bit-identical for all blocks, numbers
of threads and kinds of product.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from detectors.search import kernels
from detectors.search.distance import check_rows
from detectors.search.products import int8_is_faster, single_threaded
from detectors.search.quantised import CODE_DIMENSIONS, Queries, TiledBank

PART = 256
"""Queries per product; with a tile of bank rows, the products take 1 MB."""

TASK = 8 * PART
"""Most queries per task of a thread."""

NO_ROW = np.iinfo(np.int64).max
"""The id of an empty place in the top k."""

TRIAL = 4096
"""Most bank rows in the test of whether codes are faster."""

UNSEPARATED = 1 / 32
"""Share of pairs that codes fail to skip from which float32 products are faster, if these can separate the rows."""

LEAST = 8
"""Distances per query that a search in a small bank computes anyway."""


def bank_of(
    rows: np.ndarray, ids: np.ndarray | None = None, *, metric: str = "cosine", coded: bool | None = None
) -> TiledBank:
    """Bank of `rows` (n, d) as `TiledBank.of`, by default with the faster kind of products.

    Codes are slower if they separate the rows so badly that many distances must be computed. This is counted for a
    sample of the rows.
    """
    rows = check_rows(rows, "bank")
    if coded is None:
        coded = len(rows) > 0 and rows.shape[1] in CODE_DIMENSIONS and int8_is_faster()
        if coded:
            sample = rows[:: -(-len(rows) // TRIAL)]
            bank = TiledBank.of(sample, coded=True, metric=metric)
            at = np.arange(0, len(sample), -(-len(sample) // PART))
            measured = TopK.empty(len(at), 1).update(sample[at], bank, exclude=at)
            coded = measured < len(at) * (LEAST + UNSEPARATED * bank.n)
            if coded and ids is None and len(sample) == len(rows):
                return bank
    return TiledBank.of(rows, ids, coded=coded, metric=metric)


@dataclass(frozen=True, eq=False)
class TopK:
    """The k nearest rows so far of each query: distance float64 (m, k), rising, and id int64 (m, k).

    Equal distances are ordered by id. An empty place has an infinite distance and the id NO_ROW.
    """

    distance: np.ndarray
    id: np.ndarray

    @classmethod
    def empty(cls, m: int, k: int) -> "TopK":
        """Top k of m queries without any row."""
        if k < 1:
            raise ValueError(f"k={k}: expected at least 1 neighbour")
        return cls(np.full((m, k), np.inf), np.full((m, k), NO_ROW))

    def update(
        self, queries: np.ndarray, bank: TiledBank, *, exclude: np.ndarray | None = None, threads: int = 1
    ) -> int:
        """Add the rows of a bank; `exclude` (m,) is one id per query that the search skips, or -1.

        Returns the number of pairs that the products could not skip. ValueError for queries (m, d) that are not finite
        or have another shape.
        """
        queries = check_rows(queries, "queries")
        exclude = np.full(len(queries), -1) if exclude is None else np.asarray(exclude, dtype=np.int64)
        m = len(self.id)
        if queries.shape != (m, bank.d) or exclude.shape != (m,):
            raise ValueError(
                f"expected {m} queries of {bank.d} dimensions and {m} excluded ids, got shapes {queries.shape} and "
                f"{exclude.shape}"
            )
        if not (bank.n and m):
            return 0
        size = -(-m // (threads * -(-m // (threads * TASK))))  # as many tasks for every thread
        tasks = [slice(start, min(start + size, m)) for start in range(0, m, size)]
        with single_threaded():
            if threads == 1:
                return sum(self._update(task, queries, bank, exclude) for task in tasks)
            with ThreadPoolExecutor(threads) as pool:
                return sum(pool.map(lambda task: self._update(task, queries, bank, exclude), tasks))

    def _update(self, task: slice, queries: np.ndarray, bank: TiledBank, exclude: np.ndarray) -> int:
        distance, ids, excluded, measured = self.distance[task], self.id[task], exclude[task], 0
        memory = torch.empty(PART * bank.width, dtype=bank.product()[1])
        for at, part in _parts(bank, queries[task]):
            top = (distance[at], ids[at])
            measured += _search(bank, part, excluded[at], top, memory)
            distance[at], ids[at] = top
        return measured


def _parts(bank: TiledBank, queries: np.ndarray) -> Iterator[tuple[np.ndarray | slice, Queries]]:
    """Positions and encoded queries, PART at a time; sorted by distance from the centre if tiles may be skipped."""
    starts = range(0, len(queries), PART)
    if len(bank.tiles) == 1:
        yield from ((slice(start, start + PART), bank.encode(queries[start : start + PART])) for start in starts)
        return
    encoded = bank.encode(queries)
    order = np.argsort(encoded.length, kind="stable")
    yield from ((order[start : start + PART], encoded.rows(order[start : start + PART])) for start in starts)


def _search(
    bank: TiledBank, part: Queries, excluded: np.ndarray, top: tuple[np.ndarray, np.ndarray], memory: torch.Tensor
) -> int:
    """Update the top k of a part with every tile that may hold a nearer row, the most promising tile first.

    Returns the number of pairs that the products could not skip.
    """
    multiply, measured = bank.product()[0], 0
    gaps = bank.gaps(part.length.min(), part.length.max())
    for i in np.argsort(gaps, kind="stable"):
        tile = bank.tiles[i]
        if 0.5 * gaps[i] ** 2 * (1 - 1e-9) > top[0][:, -1].max():
            break  # by their lengths alone, all rows of this tile and of the remaining ones are too far
        m, t = len(part.units), tile.weights.shape[1]
        products = memory[: m * t].view(m, t)
        multiply(part.factors, tile.weights, products)
        measured += kernels.update_from_tile(
            products.numpy(), tile.codes, tile.rows, (part.units, part.units32), part.terms, excluded, top
        )
    return measured
