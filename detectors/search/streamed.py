"""Exact nearest neighbours of many queries in banks that arrive block by block: a running top k.

The distance of a pair is always computed by the same arithmetic, so the result is bit-identical for all blocks, numbers
of threads and kinds of product.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import thread_time

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


def bank_of(rows: np.ndarray, ids: np.ndarray | None = None, *, metric: str = "cosine") -> TiledBank:
    """Bank of `rows` (n, d) with the faster kind of products; see `TiledBank.of`."""
    return TiledBank.of(rows, ids, coded=codes_are_faster(check_rows(rows, "bank"), metric), metric=metric)


def codes_are_faster(rows: np.ndarray, metric: str = "cosine") -> bool:
    """Whether a search by codes is faster for rows (n, d), measured on a sample of them.

    It is not if the codes separate the rows so badly that nearly all distances must be computed.
    """
    if not len(rows) or rows.shape[1] not in CODE_DIMENSIONS or not int8_is_faster():
        return False
    sample = rows[:: -(-len(rows) // TRIAL)]
    at = np.arange(0, len(sample), -(-len(sample) // PART))
    seconds = {}
    for coded in (True, False):
        bank = TiledBank.of(sample, coded=coded, metric=metric)
        seconds[coded] = float("inf")
        for _ in range(3):  # the first run compiles our loops and torch's products of this shape
            start = thread_time()
            TopK.empty(len(at), 1).update(sample[at], bank, exclude=at)
            seconds[coded] = min(seconds[coded], thread_time() - start)
    return seconds[True] < seconds[False]


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
    ) -> None:
        """Add the rows of a bank; `exclude` (m,) is one id per query that the search skips, or -1.

        ValueError for queries (m, d) that are not finite or have another shape.
        """
        queries = check_rows(queries, "queries")
        exclude = np.full(len(queries), -1) if exclude is None else np.asarray(exclude, dtype=np.int64)
        m = len(self.id)
        if queries.shape != (m, bank.d) or exclude.shape != (m,):
            raise ValueError(
                f"expected {m} queries of {bank.d} dimensions and {m} excluded ids, got shapes {queries.shape} and "
                f"{exclude.shape}"
            )
        if not bank.n:
            return
        size = min(TASK, -(-m // threads))
        tasks = [slice(start, min(start + size, m)) for start in range(0, m, size)] if m else []
        with single_threaded():
            if threads == 1:
                for task in tasks:
                    self._update(task, queries, bank, exclude)
                return
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(lambda task: self._update(task, queries, bank, exclude), tasks):
                    pass

    def _update(self, task: slice, queries: np.ndarray, bank: TiledBank, exclude: np.ndarray) -> None:
        distance, ids, excluded = self.distance[task], self.id[task], exclude[task]
        memory = torch.empty(PART * bank.width, dtype=bank.product()[1])
        for at, part in _parts(bank, queries[task]):
            top = (distance[at], ids[at])
            _search(bank, part, excluded[at], top, memory)
            distance[at], ids[at] = top


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
) -> None:
    """Update the top k of a part with every tile that may hold a nearer row, the most promising tile first."""
    multiply = bank.product()[0]
    gaps = bank.gaps(part.length.min(), part.length.max())
    for i in np.argsort(gaps, kind="stable"):
        tile = bank.tiles[i]
        if 0.5 * gaps[i] ** 2 * (1 - 1e-9) > top[0][:, -1].max():
            return  # by their lengths alone, all rows of this tile and of the remaining ones are too far
        m, t = len(part.units), tile.weights.shape[1]
        products = memory[: m * t].view(m, t)
        multiply(part.factors, tile.weights, products)
        kernels.update_from_tile(
            products.numpy(), tile.codes, tile.rows, (part.units, part.units32), part.terms, excluded, top
        )
