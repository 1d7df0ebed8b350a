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
    alpha = slope(distance[directed, 0], b[row[directed, 0]])
    return Bank.of(rows, offset=2 * alpha * b), first


def slope(u: np.ndarray, v: np.ndarray) -> float:
    """alpha = Cov(u, v) / Var(v) of u and v (n,); 0 where v is constant."""
    centred = v - v.mean()
    alpha = _quotient((u - u.mean()) @ centred, centred @ centred, len(v), v.mean())
    return float(alpha)


def _quotient(products: np.ndarray, squares: np.ndarray, count: np.ndarray | int, mean: np.ndarray) -> np.ndarray:
    """Sums of products over sums of squares, of `count` centred values each; 0 where the values are constant."""
    flat = squares <= count * np.square(FLAT * mean)
    alpha: np.ndarray = np.where(flat, 0.0, products / np.where(flat, 1.0, squares))
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
    without = _WithoutEach(*_lists(rows, K + 1), directed)  # one more than K: it replaces a row that is left out
    scores = np.empty(len(rows))
    for start, D in half_distances(rows, rows):
        own = np.arange(len(D))
        changed = without.changed(start, len(D))
        alpha = without.alphas(start, len(D), *changed)
        out, listing, b = changed
        lowered = D - alpha[:, None] * without.b
        lowered[out, listing] = D[out, listing] - alpha[out] * b
        lowered[own, own + start] = np.inf
        scores[start : start + len(D)] = _least(lowered, min(k, len(rows) - 1))
    copied = np.flatnonzero(copies > 1)
    if len(copied):
        bank, _ = varmin_bank(rows, K)
        scores[copied] = nearest(rows[copied], bank, min(k, len(rows)))[0].mean(axis=1) / 2
    of_clip: np.ndarray = scores[which]
    return of_clip


class _WithoutEach:
    """b and alpha of a bank (n,) without each of its rows, from lists (n, K + 1); `directed` (n,) are not zero."""

    def __init__(self, distance: np.ndarray, row: np.ndarray, directed: np.ndarray) -> None:
        self.distance, self.row, self.directed = distance, row, directed
        self.K = row.shape[1] - 1
        self.b = np.where(directed, distance[:, :-1].mean(axis=1), 0.0)
        self.by_closest = np.argsort(row[:, 0], kind="stable")

    def changed(self, start: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row that is left out minus `start`, row whose b changes with it, and its b, of all such pairs."""
        near = self.row[:, :-1]
        listing, place = np.nonzero((near >= start) & (near < start + size) & self.directed[:, None])
        return near[listing, place] - start, listing, self._replaced(listing, place)

    def _replaced(self, listing: np.ndarray, place: np.ndarray) -> np.ndarray:
        """b of rows without the neighbour at a place of their lists."""
        b: np.ndarray = (self.distance[listing].sum(axis=1) - self.distance[listing, place]) / self.K
        return b

    def alphas(self, start: int, size: int, out: np.ndarray, listing: np.ndarray, b: np.ndarray) -> np.ndarray:
        """alpha (size,) without each of the rows `start` and following; the rest is what `changed` returns."""
        closest, own = self.row[:, 0], np.arange(size)
        v = np.tile(self.b[closest], (size, 1))
        pair, z = self._closest_to(listing)
        v[out[pair], z] = b[pair]
        lost = np.flatnonzero((closest >= start) & (closest < start + size))  # their closest row is left out
        gone = closest[lost] - start
        v[gone, lost] = self._second(lost)
        count = self.directed.sum() - self.directed[start : start + size]
        v[:, ~self.directed] = v[own, own + start] = 0.0
        mean = v.sum(axis=1) / count
        v -= mean[:, None]
        v[:, ~self.directed] = v[own, own + start] = 0.0
        u = self.distance[:, 0] - self.distance[self.directed, 0].mean()
        products = v @ u
        np.add.at(products, gone, (self.distance[lost, 1] - self.distance[lost, 0]) * v[gone, lost])
        return _quotient(products, np.einsum("ij,ij->i", v, v), count, mean)

    def _closest_to(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a place in `rows` and a row of the bank that has this row as its closest."""
        closest = self.row[self.by_closest, 0]
        first, end = (np.searchsorted(closest, rows, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
        pair = np.repeat(np.arange(len(rows)), end - first)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
        return pair, self.by_closest[first[pair] + within]

    def _second(self, lost: np.ndarray) -> np.ndarray:
        """b of the second closest row of some rows, without their closest row."""
        closest, second = self.row[lost, 0], self.row[lost, 1]
        lists = self.row[second, :-1] == closest[:, None]
        b = np.where(lists.any(axis=1), self._replaced(second, lists.argmax(axis=1)), self.b[second])
        return np.where(self.directed[second], b, 0.0)


def _lists(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """D (n, count) and row (n, count) of the nearest others of each row."""
    distance, row = nearest(rows, Bank.of(rows), count, exclude=np.arange(len(rows)))
    return distance / 2, row


def _least(values: np.ndarray, k: int) -> np.ndarray:
    """Mean of the k least values of each row."""
    least: np.ndarray = values.min(axis=1) if k == 1 else np.partition(values, k - 1, axis=1)[:, :k].mean(axis=1)
    return least
