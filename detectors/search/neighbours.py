"""Exact nearest neighbours by cosine distance: any bank, any block size, any back end, the same answer.

Back ends find candidates in float32 (`shortlist.py`); their distances are measured here in float64 and ordered by
(distance, row id). Equal rows are equally far, so ties go to the lowest id everywhere.
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
    Search,
    TopProducts,
    by_lists,
    by_tiles,
    directions,
    rounding,
)

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BLOCK = 2**17
"""Bank rows of an array that are prepared at a time; bounds the float32 copy."""

MANY = 1e8
"""Multiplications above which a second thread pays; threads never wait for each other, so that is early."""

SMALL = 2**21
"""Values of a bank up to which its rows are kept as float64 unit vectors too: 16 MB."""

TORCH_PAYS = 2e10
"""Multiplications above which torch's faster product repays its import."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Rows (n, d) prepared for many searches: as given, and as float32 unit vectors."""

    rows: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Bank":
        """Checked and prepared rows; ValueError for an empty bank or values that are not finite."""
        rows = _finite(_matrix(rows, "bank"), "bank")
        return cls(rows, directions(rows))

    @cached_property
    def directed(self) -> np.ndarray:
        """Mask (n,) of the rows that are not zero."""
        return np.asarray(self.directions.any(axis=1))

    def units(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Float64 unit vectors of some rows, written to `out` where that saves time."""
        return _taken(self._units, rows, out) if self.rows.size <= SMALL else unit(self.rows[rows])

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

    The bank is a matrix (n, d), a prepared Bank, or an iterable of matrices whose rows are numbered through. `exclude`
    (m,) is one row id per query that must not be found, its own, or -1. A zero vector is at 2 from everything but
    another zero vector. ValueError for an empty bank, values that are not finite, or fewer than k rows to find.
    """
    best = Best(queries, exclude, k)
    start = 0
    for block in _blocks(bank):
        best.take(block, start, backend)
        start += len(block.rows)
    if (best.row < 0).any():
        left = start - int((best.exclude >= 0).any())
        raise ValueError(f"k={k} neighbours asked of a bank with {left} rows to find; lower k or check the section")
    return best.distance, best.row


def _matrix(X: np.ndarray, what: str) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected a matrix of numbers (n, d), got {X.dtype} of shape {X.shape}")
    if what == "bank" and not len(X):
        raise ValueError("the bank is empty; check the section filter")
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def _finite(X: np.ndarray, what: str, part: slice = slice(None)) -> np.ndarray:
    """The part of X, once its values are known to be finite."""
    first, last, _ = part.indices(len(X))
    for i in range(first, last, TILE):
        finite = np.isfinite(X[i : min(i + TILE, last)])
        if not finite.all():
            bad = i + int(np.argmin(finite.all(axis=1)))
            raise ValueError(f"{what}: row {bad} has a value that is NaN or infinite; every value must be finite")
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


class Finder(Protocol):
    """Proposes rows of one block to queries, unit rows (m, d), and measures them."""

    block: Bank

    def candidates(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        """Pairs for float32 queries; a product below a query's `floor` (m,) comes too late."""
        ...

    def distances(self, queries: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Float64 distance of every pair for float64 queries."""
        ...


class Best:
    """The k nearest rows of every query among the blocks taken so far; row -1 where there are fewer."""

    def __init__(self, queries: np.ndarray, exclude: np.ndarray | None, k: int) -> None:
        """ValueError for what is no matrix of numbers, k below 1, or not one excluded row per query."""
        queries = _matrix(queries, "queries")
        exclude = np.full(len(queries), -1) if exclude is None else np.asarray(exclude, dtype=np.int64)
        if k < 1 or exclude.shape != (len(queries),):
            raise ValueError(
                f"expected k >= 1 and one excluded row per query, got k={k} and exclude of {exclude.shape}"
            )
        self.queries, self.exclude, self.k = queries, exclude, k
        self.distance = np.full((len(queries), k), np.inf)
        self.row = np.full((len(queries), k), -1, dtype=np.int64)

    def take(self, block: Bank, start: int, backend: str) -> None:
        """Merge in a block whose first row has the id `start`."""
        self.check(block)
        if not len(self.queries):
            return
        work = len(self.queries) * block.rows.size
        finder = _Finder(block, self.k + int((self.exclude >= 0).any()), _chosen(backend, work))
        threads = _threads() if work > MANY else 1
        size = min(TILE, -(-len(self.queries) // threads))
        parts = [slice(i, i + size) for i in range(0, len(self.queries), size)]
        with finder.single_threaded_products(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda part: self.take_part(finder, part, start), parts):
                pass

    def check(self, block: Bank) -> None:
        """ValueError where the block has other dimensions than the queries."""
        if block.rows.shape[1:] != self.queries.shape[1:]:
            d = self.queries.shape[1]
            raise ValueError(f"queries have {d} dimensions, the bank has {block.rows.shape[1]}")

    def take_part(self, finder: Finder, part: slice, start: int) -> None:
        """Merge in what the finder's block has for a part of the queries."""
        queries = unit(_finite(self.queries, "queries", part))
        pairs = finder.candidates(queries.astype(np.float32), 1.0 - self.distance[part, -1])
        pairs = pairs.where(pairs.row + start != self.exclude[part][pairs.query]).ordered()
        distance = finder.distances(queries, pairs)
        _merge(self.distance[part], self.row[part], pairs.query, distance, pairs.row + start)


class _Finder:
    """Candidates in one block by one back end; zero rows, which have no direction, are handled aside."""

    def __init__(self, block: Bank, kept: int, backend: str) -> None:
        self.block, self.kept = block, kept
        self.products = BACKENDS[backend]()
        self.directed = np.flatnonzero(block.directed)
        self.zero = np.flatnonzero(~block.directed)[:kept]
        whole = not len(self.zero)
        self.rows = block.rows if whole else block.rows[self.directed]
        self.bank = block.directions if whole else block.directions[self.directed]
        band = 2 * rounding(self.bank.shape[1], input_bits=self.products.input_bits())
        self.search = Search(kept, band, self.products.product)
        self.library = self.products.library(self.bank) if len(self.bank) else None

    def single_threaded_products(self) -> ExitStack:
        """Keep each product on its own thread: parallelism is over queries, and small parallel regions are dear."""
        stack = ExitStack()
        self.products.single_threaded(stack)
        return stack

    def candidates(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        """Every pair that can be among the nearest, and few others."""
        directed = queries.any(axis=1)
        aimed = np.flatnonzero(directed)
        parts = [_all_pairs(np.arange(len(queries)), self.zero)]
        parts.append(_all_pairs(np.flatnonzero(~directed), self.directed[: self.kept]))
        if len(aimed) and len(self.bank):
            found = self._directed(queries if directed.all() else queries[aimed], floor[aimed])
            parts.append(Pairs(aimed[found.query], self.directed[found.row], found.product))
        return Pairs.joined(parts)

    def distances(self, queries: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Exact distance of every pair of a unit query and a row."""
        return measured(queries, self.block, pairs)

    def _directed(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        if self.library is None:
            return self._tiled(queries, floor)
        pairs, short = by_lists(self.library, self.kept, queries, len(self.bank))
        if not short.any():
            return pairs
        again = np.flatnonzero(short)
        tiled = self._tiled(queries[again], floor[again])
        return Pairs.joined([pairs, Pairs(again[tiled.query], tiled.row, tiled.product)])

    def _tiled(self, queries: np.ndarray, floor: np.ndarray) -> Pairs:
        return by_tiles(self.search, queries, self.rows, self.bank, floor)


def _all_pairs(queries: np.ndarray, rows: np.ndarray) -> Pairs:
    query, row = np.repeat(queries, len(rows)), np.tile(rows, len(queries))
    return Pairs(query, row, np.zeros(len(query), dtype=np.float32))


def measured(queries: np.ndarray, bank: Bank, pairs: Pairs) -> np.ndarray:
    """Float64 distance of every pair of a unit query and a row; few at a time, so that nothing leaves the cache."""
    step = max(2**15 // queries.shape[1], 1)
    left, right = np.empty((2, step, queries.shape[1]))
    out = np.empty(len(pairs.row))
    for i in range(0, len(out), step):
        query, row = pairs.query[i : i + step], pairs.row[i : i + step]
        offset = bank.units(row, right)
        out[i : i + step] = cosine_distance(_taken(queries, query, left), offset, scratch=offset)
    return out


def _taken(X: np.ndarray, rows: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """X[rows] in memory that is used again: fresh memory costs more than filling it."""
    return X.take(rows, axis=0, out=memory[: len(rows)], mode="clip")  # unlike "raise" it needs no second buffer


def _merge(
    best_distance: np.ndarray, best_row: np.ndarray, query: np.ndarray, distance: np.ndarray, row: np.ndarray
) -> None:
    """Put the k least of (distance, row) of each query, old and new, into the arrays (m, k).

    Equal distances stay in order: old rows, which are lower, first, and new rows as they came.
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
    """How float32 products are made: a product for tiles and, where there is one, a library's whole search."""

    product: Product
    single_threaded: Callable[[ExitStack], None]
    input_bits: Callable[[], int] = lambda: 24
    library: Callable[[np.ndarray], TopProducts | None] = lambda bank: None


def _chosen(backend: str, work: float) -> str:
    """`auto` by size: numpy while torch's import would cost more than it saves, then torch, on a GPU if there is one.

    faiss is never faster here with its right kernel, and several times slower without; it remains by name.
    """
    if backend not in (*BACKENDS, "auto"):
        raise ValueError(f"unknown backend {backend!r}; choose from auto, {', '.join(BACKENDS)}")
    if backend != "auto":
        return backend
    return "torch" if work > (MANY if "torch" in sys.modules else TORCH_PAYS) else "numpy"


@cache
def _pools() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _threads() -> int:
    """Threads that numpy's BLAS would take: the cores, unless the environment says fewer."""
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
