"""VarMin: distances to bank rows in sparse regions count less, by the amount that varies least among normal clips.

After Matsumoto et al. (DCASE workshop 2025), and BEAM (arXiv 2603.13749, 2026), which searches every frequency band
apart. With D = (1 - cosine) / 2, b(y) is the mean D from the distinct row y to its K nearest others. Every row z has a
nearest other y; with u(z) = D(z, y) and v(z) = b(y), the variance of u - alpha v is least for
alpha = Cov(u, v) / Var(v). The score of a clip is the least D(x, y) - alpha b(y), which may be negative.

alpha is a least-squares slope, as published: a single training clip far from all others can make it large, and is then
the nearest to everything. A zero row has no direction and no neighbours: its b is 0, and it does not count in alpha.
"""

import numpy as np

from detectors.base import distinct_rows
from detectors.density import half_distances
from detectors.geometry import unit
from detectors.search.neighbours import Bank, nearest

FLAT = 1e-9
"""Deviation of v, relative to its mean, below which it differs only by rounding: alpha is then 0."""


def varmin_bank(X: np.ndarray, K: int) -> tuple[Bank, np.ndarray]:
    """Bank of the distinct unit rows of X (n, d) with the offsets 2 alpha b, and the first row of X that each one is.

    The offset is in the unit of the bank's distance, which is 2 D. alpha is 0 where all b are equal, and where there
    are fewer than K + 2 distinct rows (zeros aside): K others are then no neighbourhood, and alpha is chance.
    """
    rows, which, _ = distinct_rows(unit(X))
    first = np.unique(which, return_index=True)[1]
    directed = np.asarray(rows.any(axis=1))
    if directed.sum() < K + 2:
        return Bank.of(rows, offset=np.zeros(len(rows))), first
    distance, row = _lists(rows, K)
    b = np.where(directed, distance.mean(axis=1), 0.0)
    alpha = slope(distance[:, 0], b[row[:, 0]], directed)
    return Bank.of(rows, offset=2 * alpha * b), first


def slope(u: np.ndarray, v: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """alpha (...) = Cov(u, v) / Var(v) over the last axis of arrays (..., n), of the entries that are counted."""
    count = counted.sum(axis=-1, keepdims=True)
    mean_u, mean_v = (np.where(counted, x, 0.0).sum(axis=-1, keepdims=True) / count for x in (u, v))
    offset = np.where(counted, v - mean_v, 0.0)
    squares = np.square(offset).sum(axis=-1)
    flat = squares <= count[..., 0] * np.square(FLAT * mean_v[..., 0])
    alpha: np.ndarray = np.where(flat, 0.0, ((u - mean_u) * offset).sum(axis=-1) / np.where(flat, 1.0, squares))
    return alpha


def leave_one_out(X: np.ndarray, K: int, k: int) -> np.ndarray | None:
    """Score (n,) of each row of X by the bank of the others: the mean of its k least D - alpha b.

    Exact: the row is also left out of b and alpha. A row that has an exact copy leaves the bank unchanged. None where
    there are fewer than K + 3 distinct rows (zeros aside): the bank of the others has no offsets then.
    """
    rows, which, copies = distinct_rows(unit(X))
    directed = np.asarray(rows.any(axis=1))
    if directed.sum() <= K + 2:
        return None
    distance, row = _lists(rows, K + 1)  # one more than K: it replaces a neighbour that is left out
    scores = np.empty(len(rows))
    for start, D in half_distances(rows, rows):
        own = np.arange(len(D))
        b, alpha = _without_each(distance, row, start, len(D), directed)
        lowered = D - alpha[:, None] * b
        lowered[own, own + start] = np.inf
        scores[start : start + len(D)] = _least(lowered, min(k, len(rows) - 1))
    copied = np.flatnonzero(copies > 1)
    if len(copied):
        bank, _ = varmin_bank(rows, K)
        scores[copied] = nearest(rows[copied], bank, min(k, len(rows)))[0].mean(axis=1) / 2
    of_clip: np.ndarray = scores[which]
    return of_clip


def _lists(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """D (n, count) and row (n, count) of the nearest others of each row."""
    distance, row = nearest(rows, Bank.of(rows), count, exclude=np.arange(len(rows)))
    return distance / 2, row


def _without_each(
    distance: np.ndarray, row: np.ndarray, start: int, size: int, directed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """b (size, n) and alpha (size,) of the banks that lack the rows `start` and following, from lists (n, K + 1).

    `directed` (n,) are the rows that are not zero.
    """
    n, K = len(row), row.shape[1] - 1
    b = np.tile(distance[:, :K].mean(axis=1), (size, 1))
    listing, place = np.nonzero((row[:, :K] >= start) & (row[:, :K] < start + size))
    b[row[listing, place] - start, listing] = (distance[listing].sum(axis=1) - distance[listing, place]) / K
    b[:, ~directed] = 0.0
    u, closest = np.tile(distance[:, 0], (size, 1)), np.tile(row[:, 0], (size, 1))
    lost = np.flatnonzero((row[:, 0] >= start) & (row[:, 0] < start + size))
    gone = row[lost, 0] - start
    u[gone, lost], closest[gone, lost] = distance[lost, 1], row[lost, 1]
    counted = directed & (np.arange(n) != np.arange(start, start + size)[:, None])
    return b, slope(u, np.take_along_axis(b, closest, axis=1), counted)


def _least(values: np.ndarray, k: int) -> np.ndarray:
    """Mean of the k least values of each row."""
    least: np.ndarray = values.min(axis=1) if k == 1 else np.partition(values, k - 1, axis=1)[:, :k].mean(axis=1)
    return least
