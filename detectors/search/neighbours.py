"""Exact nearest neighbours by cosine distance; the result does not depend on block size or back end.

A back end shortlists rows in float32 (`shortlist.py`). Here, their distances are computed in float64 and sorted by
(distance, row id). Equal rows have equal distances, so ties always go to the lowest id.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from detectors.geometry import cosine_distance, unit
from detectors.search.shortlist import (
    TILE,
    Pairs,
    Product,
    TileSearch,
    TopProducts,
    directions,
    rounding,
    shortlist_by_library,
    shortlist_by_tiles,
)

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BLOCK = 2**17
"""Bank rows of an array that are prepared at a time; limits the memory of the float32 copy."""

THREADS_FROM = 1e8
"""Multiplications above which more than one thread is faster."""

SMALL = 2**21
"""Largest bank, in values, that also keeps its rows as float64 unit vectors (16 MB)."""

TORCH_FROM = 2e10
"""Multiplications above which torch saves more time than its import takes."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Rows (n, d) prepared for searches: as given, and as float32 unit vectors."""

    rows: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Bank":
        """Check and prepare rows; ValueError for an empty bank or values that are not finite."""
        rows = _finite(_matrix(rows, "bank"), "bank")
        return cls(rows, directions(rows))

    @cached_property
    def nonzero(self) -> np.ndarray:
        """Mask (n,) of the rows that are not zero."""
        return np.asarray(self.directions.any(axis=1))

    def units(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Float64 unit vectors of some rows; `out` may be used as their memory."""
        return _take(self._units, rows, out) if self.rows.size <= SMALL else unit(self.rows[rows])

    @cached_property
    def _units(self) -> np.ndarray:
        return unit(self.rows)


def nearest(
    queries: np.ndarray,
    bank: np.ndarray | Bank | Iterable[np.ndarray],
    k: int,
    *,
    exclude: np.ndarray | None = None,
    backend: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine distance, float64 (m, k), rising, and row id, int64 (m, k), of the k nearest bank rows of each query.

    The bank is a matrix (n, d), a prepared Bank, or an iterable of matrices whose rows are numbered consecutively.
    `exclude` (m,) is one row id per query that the search skips (usually its own), or -1. A zero vector is at distance
    0 from other zero vectors and at 2 from all other rows. ValueError for an empty bank, values that are not finite, or
    fewer than k rows.
    """
    top = RunningTopK(queries, exclude, k)
    start = 0
    for block in _blocks(bank):
        top.add(block, start, backend)
        start += len(block.rows)
    if (top.row < 0).any():
        rows = start - int((top.exclude >= 0).any())
        raise ValueError(f"k={k}: the bank has only {rows} rows to find; lower k or check the section filter")
    return top.distance, top.row


def _matrix(X: np.ndarray, what: str) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected a matrix of numbers (n, d), got {X.dtype} of shape {X.shape}")
    if what == "bank" and not len(X):
        raise ValueError("the bank is empty; check the section filter")
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def _finite(X: np.ndarray, what: str, part: slice = slice(None)) -> np.ndarray:
    """X[part]; ValueError names the first row with a value that is not finite."""
    first, last, _ = part.indices(len(X))
    for i in range(first, last, TILE):
        finite = np.isfinite(X[i : min(i + TILE, last)])
        if not finite.all():
            row = i + int(np.argmin(finite.all(axis=1)))
            raise ValueError(f"{what}: row {row} has a value that is NaN or infinite; every value must be finite")
    return X[part]


def _blocks(bank: np.ndarray | Bank | Iterable[np.ndarray]) -> Iterator[Bank]:
    if isinstance(bank, Bank):
        yield bank
    elif isinstance(bank, np.ndarray):
        bank = _finite(_matrix(bank, "bank"), "bank")
        yield from (Bank(rows, directions(rows)) for rows in (bank[i : i + BLOCK] for i in range(0, len(bank), BLOCK)))
    else:
        empty = True
        for block in bank:
            if len(block):
                yield Bank.of(block)
                empty = False
        if empty:
            raise ValueError("the bank is empty; check the section filter")


class Shortlister(Protocol):
    """Shortlists rows of one block for queries, unit rows (m, d), and computes their distances."""

    block: Bank

    def shortlist(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        """Pairs for float32 queries; a product below `floor` (m,) cannot enter the top k of a query."""
        ...

    def distances(self, queries: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Float64 distance of every pair for float64 queries."""
        ...


class RunningTopK:
    """The k nearest rows of every query among the blocks added so far; the row is -1 where there are fewer."""

    def __init__(self, queries: np.ndarray, exclude: np.ndarray | None, k: int) -> None:
        """Start without rows; ValueError for queries that are no matrix, k below 1, or another number of `exclude`."""
        queries = _matrix(queries, "queries")
        exclude = np.full(len(queries), -1) if exclude is None else np.asarray(exclude, dtype=np.int64)
        if k < 1 or exclude.shape != (len(queries),):
            raise ValueError(
                f"expected k >= 1 and one excluded row per query ({len(queries)}), got k={k} and exclude of shape "
                f"{exclude.shape}"
            )
        self.queries, self.exclude, self.k = queries, exclude, k
        self.distance = np.full((len(queries), k), np.inf)
        self.row = np.full((len(queries), k), -1, dtype=np.int64)

    def add(self, block: Bank, start: int, backend: str) -> None:
        """Add a block whose first row has the id `start`."""
        self.check_dimensions(block)
        if not len(self.queries):
            return
        work = len(self.queries) * block.rows.size
        shortlister = _ExactShortlister(block, self.k + int((self.exclude >= 0).any()), _chosen(backend, work))
        threads = _threads() if work > THREADS_FROM else 1
        size = min(TILE, -(-len(self.queries) // threads))
        parts = [slice(i, i + size) for i in range(0, len(self.queries), size)]
        with shortlister.single_threaded_products(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda part: self.add_part(shortlister, part, start), parts):
                pass

    def check_dimensions(self, block: Bank) -> None:
        """ValueError unless the block has the dimensions of the queries."""
        if block.rows.shape[1:] != self.queries.shape[1:]:
            d = self.queries.shape[1]
            raise ValueError(f"queries have {d} dimensions, the bank has {block.rows.shape[1]}")

    def add_part(self, shortlister: Shortlister, part: slice, start: int) -> None:
        """Add the rows of the shortlister's block for a part of the queries."""
        queries = unit(_finite(self.queries, "queries", part))
        pairs = shortlister.shortlist(queries.astype(np.float32), 1.0 - self.distance[part, -1])
        pairs = pairs.where(pairs.row + start != self.exclude[part][pairs.query]).ordered()
        distance = shortlister.distances(queries, pairs)
        _merge(self.distance[part], self.row[part], pairs.query, distance, pairs.row + start)


class _ExactShortlister:
    """Shortlists all rows of one block that can be among the k nearest; zero rows are handled separately."""

    def __init__(self, block: Bank, k: int, backend: str) -> None:
        self.block, self.k = block, k
        self.products = BACKENDS[backend]()
        self.nonzero = np.flatnonzero(block.nonzero)
        self.zero = np.flatnonzero(~block.nonzero)[:k]
        whole = not len(self.zero)
        self.rows = block.rows if whole else block.rows[self.nonzero]
        self.bank = block.directions if whole else block.directions[self.nonzero]
        band = 2 * rounding(self.bank.shape[1], input_bits=self.products.input_bits())
        self.search = TileSearch(k, band, self.products.product)
        self.library = self.products.library(self.bank) if len(self.bank) else None

    def single_threaded_products(self) -> ExitStack:
        """Context in which a product uses one thread: the threads share out the queries, which is faster."""
        stack = ExitStack()
        self.products.single_threaded(stack)
        return stack

    def shortlist(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        """All pairs that can be among the k nearest, and few others."""
        mask = queries.any(axis=1)
        nonzero = np.flatnonzero(mask)
        parts = [_all_pairs(np.arange(len(queries)), self.zero)]
        parts.append(_all_pairs(np.flatnonzero(~mask), self.nonzero[: self.k]))
        if len(nonzero) and len(self.bank):
            pairs = self._shortlist_nonzero(queries if mask.all() else queries[nonzero], floor[nonzero])
            parts.append(Pairs(nonzero[pairs.query], self.nonzero[pairs.row], pairs.product))
        return Pairs.joined(parts)

    def distances(self, queries: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Exact distance of every pair of a unit query and a row."""
        return exact_distances(queries, self.block, pairs)

    def _shortlist_nonzero(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        if self.library is None:
            return shortlist_by_tiles(self.search, queries, self.rows, self.bank, floor)
        pairs, short = shortlist_by_library(self.library, self.k, queries, len(self.bank))
        if not short.any():
            return pairs
        again = np.flatnonzero(short)
        tiled = shortlist_by_tiles(self.search, queries[again], self.rows, self.bank, floor[again])
        return Pairs.joined([pairs, Pairs(again[tiled.query], tiled.row, tiled.product)])


def _all_pairs(queries: np.ndarray, rows: np.ndarray) -> Pairs:
    query, row = np.repeat(queries, len(rows)), np.tile(rows, len(queries))
    return Pairs(query, row, np.zeros(len(query), dtype=np.float32))


def exact_distances(queries: np.ndarray, bank: Bank, pairs: Pairs) -> np.ndarray:
    """Float64 cosine distance of every pair of a unit query and a bank row."""
    step = max(2**15 // queries.shape[1], 1)  # a few pairs at a time stay in the cache
    left, right = np.empty((2, step, queries.shape[1]))
    out = np.empty(len(pairs.row))
    for i in range(0, len(out), step):
        query, row = pairs.query[i : i + step], pairs.row[i : i + step]
        offset = bank.units(row, right)
        out[i : i + step] = cosine_distance(_take(queries, query, left), offset, scratch=offset)
    return out


def _take(X: np.ndarray, rows: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """X[rows] in reused memory, since allocating memory takes longer than filling it."""
    return X.take(rows, axis=0, out=memory[: len(rows)], mode="clip")  # mode="raise" needs a second buffer


def _merge(
    best_distance: np.ndarray, best_row: np.ndarray, query: np.ndarray, distance: np.ndarray, row: np.ndarray
) -> None:
    """Update the arrays (m, k) with new pairs to the k smallest (distance, row) of each query.

    Rows with equal distances stay in order: first the old rows, whose ids are lower, then the new rows as given.
    """
    m, k = best_row.shape
    old = np.flatnonzero(best_row.ravel() >= 0)
    query = np.concatenate([old // k, query])
    distance = np.concatenate([best_distance.ravel()[old], distance])
    row = np.concatenate([best_row.ravel()[old], row])
    order = np.argsort(distance)
    if not np.diff(distance[order]).all():
        order = np.argsort(distance, kind="stable")  # several times slower
    order = order[np.argsort(query[order].astype(np.min_scalar_type(m)), kind="stable")]  # 16 bits sort in linear time
    query = query[order]
    rank = np.arange(len(query)) - np.searchsorted(query, np.arange(m))[query]
    near = rank < k
    order, query, rank = order[near], query[near], rank[near]
    best_distance[query, rank] = distance[order]
    best_row[query, rank] = row[order]


@dataclass(frozen=True)
class Backend:
    """How float32 products are computed: by tiles or, if `library` gives one, by the search of a library."""

    product: Product
    single_threaded: Callable[[ExitStack], None]
    input_bits: Callable[[], int] = lambda: 24
    library: Callable[[np.ndarray], TopProducts | None] = lambda bank: None


def _chosen(backend: str, work: float) -> str:
    """Name of the back end; `auto` is numpy for small searches, and torch (on a GPU, if any) for large ones.

    faiss is available by name only: with the right kernel it is not faster here, and without it several times slower.
    """
    if backend not in (*BACKENDS, "auto"):
        raise ValueError(f"unknown backend {backend!r}; choose from auto, {', '.join(BACKENDS)}")
    if backend != "auto":
        return backend
    return "torch" if work > (THREADS_FROM if "torch" in sys.modules else TORCH_FROM) else "numpy"


@cache
def _pools() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _threads() -> int:
    """Threads of numpy's BLAS: the number of cores, unless the environment sets fewer."""
    return max((pool["num_threads"] for pool in _pools().info() if pool["user_api"] == "blas"), default=1)


def _numpy_product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    np.matmul(left, right.T, out=out)


def _numpy_single(stack: ExitStack) -> None:
    stack.enter_context(_pools().limit(limits=1, user_api="blas"))


def _torch() -> Backend:
    from detectors.search import torch_backend as torch

    return Backend(torch.product, torch.single_threaded, torch.input_bits, torch.on_device)


def _faiss() -> Backend:
    from detectors.search.faiss_backend import InnerProducts

    return Backend(_numpy_product, lambda stack: None, library=InnerProducts)


def _numpy() -> Backend:
    return Backend(_numpy_product, _numpy_single)


BACKENDS = {"numpy": _numpy, "torch": _torch, "faiss": _faiss}
