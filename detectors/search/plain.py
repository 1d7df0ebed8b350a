"""Searches with little work by numpy: float64 products leave few pairs, and their distances decide.

Nothing has to be loaded, which would take longer than such a search.
"""

import numpy as np

from detectors.geometry import squared_lengths
from detectors.search.distance import Distance

CHUNK = 2**20
"""Products in memory at a time (8 MB)."""

GROUP = 16
"""Most bank rows that share one minimum, from which the k-th smallest distance is bounded."""


class PlainBank:
    """Rows (n, d) of a bank, prepared in float64, for searches by products."""

    def __init__(self, rows: np.ndarray, distance: Distance) -> None:
        self.distance = distance
        self.rows = distance.prepare(rows)
        self.half = 0.5 * squared_lengths(self.rows)
        self.longest = float(np.sqrt(2.0 * self.half.max()))
        self.zero = self.half == 0 if distance.directions else np.zeros(len(self.rows), dtype=bool)

    def nearest(self, queries: np.ndarray, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (m, k) and row (m, k) of the k nearest rows, ties by row, without the row `exclude` (m,)."""
        distance, row = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
        step = max(CHUNK // len(self.rows), 1)
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            units = self.distance.prepare(queries[part])
            query, candidate = self._candidates(units, k, exclude[part])
            exact = pair_distances(self.distance, units, query, self.rows, candidate)
            distance[part], row[part] = nearest_of_pairs(query, candidate, exact, (len(units), k))
        return distance, row

    def _candidates(self, units: np.ndarray, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Queries and rows of all pairs that can be among the k nearest, ordered by query and row."""
        half = 0.5 * squared_lengths(units)
        distance = units @ self.rows.T
        np.subtract(self.half, distance, out=distance)
        distance += half[:, None]
        zero = half == 0 if self.distance.directions else np.zeros(len(units), dtype=bool)
        if zero.any() or self.zero.any():
            distance[zero[:, None] ^ self.zero] = self.distance.farthest
            distance[zero[:, None] & self.zero] = 0.0
        some = np.flatnonzero((exclude >= 0) & (exclude < len(self.rows)))
        distance[some, exclude[some]] = np.inf
        # The product and the distance itself are sums of d terms, each rounded to 53 bits.
        rounding = (units.shape[1] + 16) * 2.0**-52 * (np.sqrt(2.0 * half) + self.longest) ** 2
        near = distance <= (_bound(distance, k) + 2 * rounding)[:, None]
        near[some, exclude[some]] = False
        return np.divmod(np.flatnonzero(near), len(self.rows))


def _bound(distance: np.ndarray, k: int) -> np.ndarray:
    """Upper bound (m,) of the k-th smallest value of each row of `distance` (m, n): that of minima of groups."""
    n, group = distance.shape[1], 1
    while group < GROUP and 2 * group * 8 * k <= n:
        group *= 2
    width = n // group
    smallest = distance[:, :width]
    if group > 1:
        smallest = smallest.copy()
        for start in range(width, group * width, width):
            np.minimum(smallest, distance[:, start : start + width], out=smallest)
    kth: np.ndarray = smallest.min(axis=1) if k == 1 else np.partition(smallest, k - 1, axis=1)[:, k - 1]
    return kth


def pair_distances(
    distance: Distance, units: np.ndarray, query: np.ndarray, rows: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """Float64 distance (pairs,) of prepared queries and prepared bank rows, by their numbers."""
    step = max(2**15 // units.shape[1], 1)  # a few pairs at a time stay in the cache
    parts = [slice(start, start + step) for start in range(0, len(query), step)]
    out = np.empty(len(query))
    for part in parts:
        out[part] = distance.of_pairs(units[query[part]], rows[row[part]])
    return out


def nearest_of_pairs(
    query: np.ndarray, row: np.ndarray, distance: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest pairs of each of m queries, `shape` (m, k), from pairs ordered by query and row.

    Equal distances are ordered by row. Where there are fewer pairs, the distance is infinite and the row -1.
    """
    order = np.lexsort((distance, query))  # stable
    query, row, distance = query[order], row[order], distance[order]
    rank = np.arange(len(query)) - np.searchsorted(query, np.arange(shape[0]))[query]
    near = rank < shape[1]
    nearest, rows = np.full(shape, np.inf), np.full(shape, -1, dtype=np.int64)
    nearest[query[near], rank[near]], rows[query[near], rank[near]] = distance[near], row[near]
    return nearest, rows
