"""The shortlist: bank rows that can still be among the k nearest, found by float32 products.

The error of a product of float32 unit vectors is at most `rounding(d)`. A row whose product is smaller than the k-th
largest one by more than twice that error cannot be among the k nearest. All other rows are on the shortlist, and
`neighbours` computes their distances in float64. So the result does not depend on the back end or the block size.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from detectors.geometry import unit

TILE = 1024
"""Queries and bank rows per product: 4 MB, about the size of a second-level cache."""

Product = Callable[[np.ndarray, np.ndarray, np.ndarray], object]
"""Writes left @ right.T of two float32 matrices to the third argument."""


def rounding(d: int, *, input_bits: int = 24) -> float:
    """Largest error of a float32 product of two unit vectors (d,) that are rounded to `input_bits` bits."""
    return float((2.5 * d + 16) * 2.0**-24 + 2 * 2.0**-input_bits)


def directions(X: np.ndarray) -> np.ndarray:
    """Rows of X scaled to length 1, float32; zero rows stay zero."""
    if X.dtype == np.float32:
        return unit(X, np.float32)
    out = np.empty(X.shape, dtype=np.float32)
    for start in range(0, len(X), TILE):  # scaled before rounding, since 1e300 overflows float32
        out[start : start + TILE] = unit(X[start : start + TILE])
    return out


class Scratch(threading.local):
    """Memory for products that each thread reuses, since allocating it takes longer than filling it."""

    def __init__(self) -> None:
        self._values = np.empty(0, dtype=np.float32)

    def take(self, rows: int, columns: int) -> np.ndarray:
        """Uninitialised float32 (rows, columns); the next call in this thread overwrites it."""
        if self._values.size < rows * columns:
            self._values = np.empty(rows * columns, dtype=np.float32)
        return self._values[: rows * columns].reshape(rows, columns)


@dataclass(frozen=True, eq=False)
class TileSearch:
    """Settings of a search by tiles: rows `k` per query to find, and `band`, twice the rounding error of a product."""

    k: int
    band: float
    product: Product
    scratch: Scratch = field(default_factory=Scratch)


def shortlist_by_tiles(
    search: TileSearch, queries: np.ndarray, rows: np.ndarray, bank: np.ndarray, floor: np.ndarray
) -> "Pairs":
    """Shortlist for float32 unit `queries` (m, d) of a float32 unit `bank` (n, d), which has the raw rows `rows`.

    `floor` (m,) is a product that k rows of earlier blocks have reached; rows below it are left out.
    """
    m, n = len(queries), len(bank)
    width = min(TILE, n)
    group = _group_size(width, search.k)
    padded = -(-width // group) * group
    buffer = search.scratch.take(padded, m)
    threshold = _KthLargest(search.k, np.maximum(floor, -3.0).astype(np.float32))  # finite, so above the padding
    parts: list[Pairs] = []
    for start in range(0, n, width):
        tile = bank[start : start + width]
        search.product(tile, queries, buffer[: len(tile)])
        buffer[len(tile) :] = -np.inf
        grouped = buffer.reshape(padded // group, group, m)
        largest = grouped.max(axis=1)
        threshold.update(largest)
        cutoff = threshold.value - np.float32(search.band)
        at, query = _nonzero(largest >= cutoff)
        if len(at):
            values = grouped[at, :, query]
            hit, inside = _nonzero(values >= cutoff[query, None])
            pairs = Pairs(query[hit], at[hit] * group + inside, values[hit, inside])
            if len(hit) > 16 * search.k * m:
                pairs = pairs.where(_first_copies(rows[start : start + width], search.k)[pairs.row])
            parts.append(Pairs(pairs.query, pairs.row + start, pairs.product))
    pairs = Pairs.joined(parts)
    return pairs.where(pairs.product >= (threshold.value - np.float32(search.band))[pairs.query])


def _nonzero(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As np.nonzero of a matrix, but several times faster."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


def _group_size(width: int, k: int) -> int:
    """Bank rows that share one maximum, at most 16, such that a tile has at least 8 k groups."""
    group = 1
    while group < 16 and 2 * group * 8 * k <= width:
        group *= 2
    return group


def _first_copies(rows: np.ndarray, k: int) -> np.ndarray:
    """Mask (n,) of the rows with fewer than k equal rows before them; later copies lose every tie by id."""
    equal = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(equal, kind="stable")
    position = np.empty(len(rows), dtype=np.intp)
    position[order] = np.arange(len(rows)) - np.searchsorted(equal[order], equal[order])
    mask: np.ndarray = position < k
    return mask


class _KthLargest:
    """Lower bound `value` (m,) of the k-th largest product of every query so far, from maxima of groups of rows."""

    def __init__(self, k: int, floor: np.ndarray) -> None:
        self.value = floor
        self._top = np.full((k, len(floor)), -np.inf, dtype=np.float32)

    def update(self, maxima: np.ndarray) -> None:
        """Add the group maxima (groups, m) of new rows."""
        rising = np.flatnonzero(maxima.max(axis=0) > self.value)
        k = len(self._top)
        if k == 1:
            self.value[rising] = maxima[:, rising].max(axis=0)
        elif len(rising):
            both = np.concatenate([self._top[:, rising], maxima[:, rising]])
            self._top[:, rising] = np.partition(both, -k, axis=0)[-k:]
            self.value[rising] = np.maximum(self.value[rising], self._top[:, rising].min(axis=0))


class TopProducts(Protocol):
    """Search of a library for the largest products; it rounds its input to `input_bits` bits."""

    input_bits: int
    max_k: int

    def largest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (m, k), falling, and rows (m, k)."""
        ...


def shortlist_by_library(products: TopProducts, k: int, queries: np.ndarray, n: int) -> tuple["Pairs", np.ndarray]:
    """Shortlist from the lists of a library, and the mask (m,) of the queries whose list may be too short."""
    length = min(n, k + 8)
    if length > products.max_k:
        return Pairs.joined([]), np.ones(len(queries), dtype=bool)
    values, rows = products.largest(queries, length)
    cutoff = values[:, min(k, n) - 1] - np.float32(2 * rounding(queries.shape[1], input_bits=products.input_bits))
    short = (values[:, -1] >= cutoff) if length < n else np.zeros(len(queries), dtype=bool)
    query, column = np.nonzero((values >= cutoff[:, None]) & ~short[:, None])
    return Pairs(query, rows[query, column].astype(np.intp), values[query, column]), short


@dataclass(frozen=True, eq=False)
class Pairs:
    """Shortlisted pairs in columns: number of the query, bank row, float32 product."""

    query: np.ndarray
    row: np.ndarray
    product: np.ndarray

    @classmethod
    def joined(cls, parts: "list[Pairs]") -> "Pairs":
        """The pairs of all parts."""
        if not parts:
            return cls(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32))
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("query", "row", "product"))
        return cls(*columns)

    def where(self, mask: np.ndarray) -> "Pairs":
        """The pairs that a mask selects."""
        return Pairs(self.query[mask], self.row[mask], self.product[mask])

    def ordered(self) -> "Pairs":
        """The pairs sorted by query, then by row."""
        order = np.argsort(self.query * (self.row.max(initial=0) + 1) + self.row)
        return Pairs(self.query[order], self.row[order], self.product[order])
