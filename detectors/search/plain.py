"""Searches with little work by numpy: float32 products leave few pairs, whose float64 distances decide.

Nothing has to be loaded, which would take longer than such a search. Half the squared distance of two rows is one
product of d + 2 columns: (a, 1, |a|^2 / 2) and (-b, |b|^2 / 2, 1), where a and b are the rows minus the bank's mean. An
offset of a bank row is subtracted from |b|^2 / 2, and the search is by the distance minus the offset.
"""

import numpy as np

from detectors.geometry import squared_lengths
from detectors.search.distance import Distance

CHUNK = 2**19
"""Products in memory at a time (2 MB)."""

GROUP = 16
"""Most bank rows that share one minimum, from which the k-th smallest distance is bounded."""


class PlainBank:
    """Rows (n, d) of a bank, prepared in float64, and as factors of products; offsets (n,) are 0 by default."""

    def __init__(self, rows: np.ndarray, distance: Distance, offset: np.ndarray | None = None) -> None:
        self.distance = distance
        self.rows = distance.prepare(rows)
        self.centre = self.rows.mean(axis=0)
        self.factors, half = self._factors(self.rows)
        self.factors[:, :-2] *= -1
        self.offset = offset
        self.factors[:, -2], self.factors[:, -1] = half if offset is None else half - offset, 1
        self.largest_offset = 0.0 if offset is None else float(np.abs(offset).max())
        self.longest = float(np.sqrt(2.0 * half.max()))
        self.zero = self._zero(self.rows)

    def nearest(self, queries: np.ndarray, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (m, k) and row (m, k) of the k nearest rows, ties by row, without the row `exclude` (m,)."""
        distance, row = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
        step = max(CHUNK // len(self.rows), 1)
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            units = self.distance.prepare(queries[part])
            with np.errstate(over="ignore", invalid="ignore"):  # where float32 overflows, all rows are candidates
                query, candidate = self._candidates(units, k, exclude[part])
            exact = pair_distances(self.distance, units, query, self.rows, candidate)
            if self.offset is not None:
                exact -= self.offset[candidate]
            distance[part], row[part] = nearest_of_pairs(query, candidate, exact, (len(units), k))
        return distance, row

    def _candidates(self, units: np.ndarray, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Queries and rows of all pairs that can be among the k nearest, and of few others."""
        (m, d), n = units.shape, len(self.rows)
        factors, half = self._factors(units)
        group = 1
        while group < GROUP and 2 * group * 8 * k <= n:
            group *= 2
        width = -(-n // group)
        products = np.empty((m, group * width), dtype=np.float32)
        products[:, n:] = np.inf
        np.matmul(factors, self.factors.T, out=products[:, :n])
        zero = self._zero(units)
        if zero.any() or self.zero.any():
            without_offset = np.zeros(n) if self.offset is None else self.offset
            for pairs, far in ((zero[:, None] ^ self.zero, self.distance.farthest), (zero[:, None] & self.zero, 0.0)):
                products[:, :n][pairs] = np.broadcast_to(far - without_offset, (m, n))[pairs]
        some = np.flatnonzero((exclude >= 0) & (exclude < n))
        products[some, exclude[some]] = np.inf
        by_group = products.reshape(m, group, width)
        least = by_group.min(axis=1) if group > 1 else products
        kth = least.min(axis=1) if k == 1 else np.partition(least, k - 1, axis=1)[:, k - 1]
        rounding = (d + 16) * 2.0**-24 * 0.5 * (np.sqrt(2.0 * half) + self.longest) ** 2 + d * 1e-37
        rounding += (d + 16) * 2.0**-24 * self.largest_offset
        limit = (kth + 2 * rounding).astype(np.float32)[:, None]
        query, column = np.divmod(np.flatnonzero(~(least > limit)), width)
        hit, inside = np.nonzero(~(by_group[query, :, column] > limit[query]))
        query, row = query[hit], inside * width + column[hit]
        keep = (row < n) & (row != exclude[query])
        return query[keep], row[keep]

    def _factors(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows a minus the centre as (a, 1, |a|^2 / 2), float32 (m, d + 2), and |a|^2 / 2."""
        m, d = units.shape
        factors, half = np.ones((m, d + 2), dtype=np.float32), np.empty(m)
        step = max(2**15 // d, 1)  # a few rows at a time stay in the cache
        for part in (slice(start, start + step) for start in range(0, m, step)):
            offset = units[part] - self.centre
            half[part] = 0.5 * squared_lengths(offset)
            factors[part, :d], factors[part, -1] = offset, half[part]
        return factors, half

    def _zero(self, units: np.ndarray) -> np.ndarray:
        """Mask (m,) of the rows without a direction."""
        return np.asarray(~units.any(axis=1)) if self.distance.directions else np.zeros(len(units), dtype=bool)


def pair_distances(
    distance: Distance, units: np.ndarray, query: np.ndarray, rows: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """Float64 distance (pairs,) of prepared queries and prepared bank rows, by their numbers."""
    step = max(2**15 // units.shape[1], 1)  # a few pairs at a time stay in the cache
    out = np.empty(len(query))
    for part in (slice(start, start + step) for start in range(0, len(query), step)):
        out[part] = distance.of_pairs(units[query[part]], rows[row[part]])
    return out


def nearest_of_pairs(
    query: np.ndarray, row: np.ndarray, distance: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the given pairs for each of m queries, `shape` (m, k); equal distances are ordered by row.

    Where there are fewer pairs, the distance is infinite and the row -1.
    """
    order = np.argsort(distance)
    if not np.diff(distance[order]).all():
        order = np.lexsort((row, distance))
    order = order[np.argsort(query[order].astype(np.min_scalar_type(shape[0])), kind="stable")]  # 16 bits sort fast
    query, row, distance = query[order], row[order], distance[order]
    rank = np.arange(len(query)) - np.searchsorted(query, np.arange(shape[0]))[query]
    near = rank < shape[1]
    nearest, rows = np.full(shape, np.inf), np.full(shape, -1, dtype=np.int64)
    nearest[query[near], rank[near]], rows[query[near], rank[near]] = distance[near], row[near]
    return nearest, rows
