"""Which bank rows can be among the nearest: a float32 search that leaves out no row that exact distances would keep.

Products of float32 unit vectors are off by at most `rounding(d)`. A row whose product lies more than twice that below
the k-th largest product cannot be among the k nearest; every other row is a candidate, and `neighbours` measures it in
float64. So the answer does not depend on who computed the products, nor in which blocks.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from detectors.geometry import unit

TILE = 1024
"""Queries, and bank rows, multiplied at a time: 4 MB of products, which a second-level cache nearly holds."""

Product = Callable[[np.ndarray, np.ndarray, np.ndarray], object]
"""Writes left @ right.T of two float32 matrices into the third."""


def rounding(d: int, *, input_bits: int = 24) -> float:
    """Largest error of a float32 product of two unit vectors (d,) that were rounded to `input_bits` bits."""
    return float((2.5 * d + 16) * 2.0**-24 + 2 * 2.0**-input_bits)


def directions(X: np.ndarray) -> np.ndarray:
    """Rows of X scaled to length 1, float32; zero rows stay zero."""
    if X.dtype == np.float32:
        return unit(X, np.float32)
    out = np.empty(X.shape, dtype=np.float32)
    for start in range(0, len(X), TILE):  # scaled before they are rounded: float32 holds no 1e300
        out[start : start + TILE] = unit(X[start : start + TILE])
    return out


class Scratch(threading.local):
    """Memory of each thread for the products of a tile: fresh memory costs more than filling it."""

    def __init__(self) -> None:
        self._values = np.empty(0, dtype=np.float32)

    def take(self, rows: int, columns: int) -> np.ndarray:
        """Uninitialised float32 (rows, columns), overwritten by the next call in this thread."""
        if self._values.size < rows * columns:
            self._values = np.empty(rows * columns, dtype=np.float32)
        return self._values[: rows * columns].reshape(rows, columns)


@dataclass(frozen=True, eq=False)
class Search:
    """What every tile of one search shares; `kept` rows per query must survive, `band` is twice the rounding."""

    kept: int
    band: float
    product: Product
    scratch: Scratch = field(default_factory=Scratch)


def by_tiles(search: Search, queries: np.ndarray, rows: np.ndarray, bank: np.ndarray, floor: np.ndarray) -> "Pairs":
    """Candidates of float32 unit `queries` (m, d) in a float32 unit `bank` (n, d), whose raw form is `rows`.

    A query's candidates also reach its `floor` (m,), a product that k rows of earlier blocks have reached.
    """
    m, n = len(queries), len(bank)
    width = min(TILE, n)
    group = _group(width, search.kept)
    padded = -(-width // group) * group
    buffer = search.scratch.take(padded, m)
    state = _Largest(search.kept, np.maximum(floor, -3.0).astype(np.float32))  # finite: padding stays below
    found: list[Pairs] = []
    for start in range(0, n, width):
        tile = bank[start : start + width]
        search.product(tile, queries, buffer[: len(tile)])
        buffer[len(tile) :] = -np.inf
        grouped = buffer.reshape(padded // group, group, m)
        largest = grouped.max(axis=1)
        state.raise_to(largest)
        bar = state.bar - np.float32(search.band)
        at, query = _places(largest >= bar)
        if len(at):
            values = grouped[at, :, query]
            hit, inside = _places(values >= bar[query, None])
            pairs = Pairs(query[hit], at[hit] * group + inside, values[hit, inside])
            if len(hit) > 16 * search.kept * m:
                pairs = pairs.where(_first_copies(rows[start : start + width], search.kept)[pairs.row])
            found.append(Pairs(pairs.query, pairs.row + start, pairs.product))
    every = Pairs.joined(found)
    return every.where(every.product >= (state.bar - np.float32(search.band))[every.query])


def _places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As np.nonzero of a matrix, which is several times slower than that of a vector."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


def _group(width: int, kept: int) -> int:
    """Bank rows that share one maximum: many, yet so few that `kept` maxima are a small part of all."""
    group = 1
    while group < 16 and 2 * group * 8 * kept <= width:
        group *= 2
    return group


def _first_copies(rows: np.ndarray, kept: int) -> np.ndarray:
    """Mask of the rows with fewer than `kept` equal rows before them: later copies always lose the tie by id."""
    equal = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(equal, kind="stable")
    position = np.empty(len(rows), dtype=np.intp)
    position[order] = np.arange(len(rows)) - np.searchsorted(equal[order], equal[order])
    mask: np.ndarray = position < kept
    return mask


class _Largest:
    """A lower bound of every query's k-th largest product so far, from maxima of groups of rows."""

    def __init__(self, kept: int, floor: np.ndarray) -> None:
        self.bar = floor
        self._top = np.full((kept, len(floor)), -np.inf, dtype=np.float32)

    def raise_to(self, maxima: np.ndarray) -> None:
        """Take in group maxima (groups, m) of rows not seen before."""
        rising = np.flatnonzero(maxima.max(axis=0) > self.bar)
        kept = len(self._top)
        if kept == 1:
            self.bar[rising] = maxima[:, rising].max(axis=0)
        elif len(rising):
            both = np.concatenate([self._top[:, rising], maxima[:, rising]])
            self._top[:, rising] = np.partition(both, -kept, axis=0)[-kept:]
            self.bar[rising] = np.maximum(self.bar[rising], self._top[:, rising].min(axis=0))


class TopProducts(Protocol):
    """A library's search for the largest products, of any precision that `input_bits` states."""

    input_bits: int
    max_k: int

    def largest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (m, k), falling, and rows (m, k)."""
        ...


def by_lists(top: TopProducts, kept: int, queries: np.ndarray, n: int) -> tuple["Pairs", np.ndarray]:
    """Candidates out of a library's lists, and the mask (m,) of queries whose list may have ended too early."""
    length = min(n, kept + 8)
    if length > top.max_k:
        return Pairs.joined([]), np.ones(len(queries), dtype=bool)
    values, rows = top.largest(queries, length)
    bar = values[:, min(kept, n) - 1] - np.float32(2 * rounding(queries.shape[1], input_bits=top.input_bits))
    short = (values[:, -1] >= bar) if length < n else np.zeros(len(queries), dtype=bool)
    query, column = np.nonzero((values >= bar[:, None]) & ~short[:, None])
    return Pairs(query, rows[query, column].astype(np.intp), values[query, column]), short


@dataclass(frozen=True, eq=False)
class Pairs:
    """Candidates as columns: index of the query, bank row, float32 product."""

    query: np.ndarray
    row: np.ndarray
    product: np.ndarray

    @classmethod
    def joined(cls, parts: "list[Pairs]") -> "Pairs":
        """All pairs of all parts."""
        if not parts:
            return cls(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32))
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("query", "row", "product"))
        return cls(*columns)

    def where(self, mask: np.ndarray) -> "Pairs":
        """The pairs that the mask keeps."""
        return Pairs(self.query[mask], self.row[mask], self.product[mask])

    def ordered(self) -> "Pairs":
        """The pairs by query, those of one query by row."""
        order = np.argsort(self.query * (self.row.max(initial=0) + 1) + self.row)
        return Pairs(self.query[order], self.row[order], self.product[order])
