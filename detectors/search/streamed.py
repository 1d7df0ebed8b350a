"""Exact nearest neighbours of many queries among banks that come block by block: lists that only ever improve.

The same arithmetic measures every pair, whatever the blocks, the threads and the kind of product, so the lists are the
same to the last bit. Distances are cosine distances as in `neighbours`; queries and banks are float32, as stores hold
them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import thread_time

import numpy as np
import torch

from detectors.search import kernels
from detectors.search.products import int8_pays, one_thread_each
from detectors.search.quantised import CODED, Queries, TiledBank, checked

PART = 256
"""Queries multiplied at a time; with a tile of bank rows they make 1 MB of products."""

TASK = 8 * PART
"""Queries a thread takes at a time, at most."""

NOBODY = np.iinfo(np.int64).max
"""The id in a place of a list that no row has taken yet."""


TRIAL = 4096
"""Rows of a bank, at most, with which it is tried whether codes are faster."""


def bank_of(rows: np.ndarray, ids: np.ndarray | None = None) -> TiledBank:
    """Bank of float32 `rows` (n, d) with the kind of products that is faster for them; see `TiledBank.of`."""
    return TiledBank.of(rows, ids, coded=codes_pay(checked(rows, "bank")))


def codes_pay(rows: np.ndarray) -> bool:
    """Whether codes tell float32 rows (n, d) like these well enough apart to be faster: as tried with some of them.

    Else nearly all rows would be measured.
    """
    if not len(rows) or rows.shape[1] not in CODED or not int8_pays():
        return False
    sample = rows[:: -(-len(rows) // TRIAL)]
    at = np.arange(0, len(sample), -(-len(sample) // PART))
    seconds = {}
    for coded in (True, False):
        bank = TiledBank.of(sample, coded=coded)
        seconds[coded] = float("inf")
        for _ in range(3):  # the first compiles: our loops, and torch's products of this very shape
            start = thread_time()
            Nearest.none(len(at), 1).take(sample[at], bank, exclude=at)
            seconds[coded] = min(seconds[coded], thread_time() - start)
    return seconds[True] < seconds[False]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The k nearest rows so far of each query: distance float64 (m, k), rising, and id int64 (m, k).

    Equal distances are ordered by id; a place that no row has taken is at infinity with the id NOBODY.
    """

    distance: np.ndarray
    id: np.ndarray

    @classmethod
    def none(cls, m: int, k: int) -> "Nearest":
        """Lists for m queries, all places free."""
        if k < 1:
            raise ValueError(f"k={k}: expected at least one neighbour")
        return cls(np.full((m, k), np.inf), np.full((m, k), NOBODY))

    def take(
        self, queries: np.ndarray, bank: TiledBank, *, exclude: np.ndarray | None = None, threads: int = 1
    ) -> None:
        """Improve the lists by a bank; `exclude` (m,) is one id per query that must not be found, or -1.

        ValueError where queries (m, d) are not finite or do not fit.
        """
        queries = checked(queries, "queries")
        exclude = np.full(len(queries), -1) if exclude is None else np.asarray(exclude, dtype=np.int64)
        m = len(self.id)
        if queries.shape != (m, bank.d) or exclude.shape != (m,):
            raise ValueError(
                f"expected {m} queries of {bank.d} dimensions and as many excluded ids, got {queries.shape} and "
                f"{exclude.shape}"
            )
        if not bank.n:
            return
        size = min(TASK, -(-m // threads))
        tasks = [slice(start, min(start + size, m)) for start in range(0, m, size)] if m else []
        with one_thread_each():
            if threads == 1:
                for task in tasks:
                    self._take(task, queries, bank, exclude)
                return
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(lambda task: self._take(task, queries, bank, exclude), tasks):
                    pass

    def _take(self, task: slice, queries: np.ndarray, bank: TiledBank, exclude: np.ndarray) -> None:
        distance, found, excluded = self.distance[task], self.id[task], exclude[task]
        memory = torch.empty(PART * bank.width, dtype=bank.product()[1])
        for at, part in _parts(bank, queries[task]):
            best = (distance[at], found[at])
            _search(bank, part, excluded[at], best, memory)
            distance[at], found[at] = best


def _parts(bank: TiledBank, queries: np.ndarray) -> Iterator[tuple[np.ndarray | slice, Queries]]:
    """Places and encoded queries, PART at a time: of like distance from the centre where tiles may be skipped."""
    starts = range(0, len(queries), PART)
    if len(bank.tiles) == 1:
        yield from ((slice(start, start + PART), bank.encode(queries[start : start + PART])) for start in starts)
        return
    every = bank.encode(queries)
    order = np.argsort(every.length, kind="stable")
    yield from ((order[start : start + PART], every.rows(order[start : start + PART])) for start in starts)


def _search(
    bank: TiledBank, part: Queries, excluded: np.ndarray, best: tuple[np.ndarray, np.ndarray], memory: torch.Tensor
) -> None:
    """Improve the lists of a part by every tile that may hold a nearer row, the likeliest first."""
    multiply = bank.product()[0]
    gaps = bank.gaps(part.length.min(), part.length.max())
    for i in np.argsort(gaps, kind="stable"):
        tile = bank.tiles[i]
        if 0.5 * gaps[i] ** 2 * (1 - 1e-9) > best[0][:, -1].max():
            return  # lengths alone say that no row of this tile or of the farther ones is near enough
        m, t = len(part.units), tile.weights.shape[1]
        products = memory[: m * t].view(m, t)
        multiply(part.factors, tile.weights, products)
        kernels.take_tile(
            products.numpy(), tile.codes, tile.rows, (part.units, part.units32), part.facts, excluded, best
        )
