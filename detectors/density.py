"""Local density normalisation: distances to clips in sparse regions count less."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from detectors.base import Fitted, distinct_rows
from detectors.geometry import cosine_distance, unit
from detectors.search.neighbours import Bank, nearest

FLOOR = 1e-12
"""Lower limit of a local distance, which avoids a division by zero for near copies."""

NEAR = 1e-6
"""Distances below this are computed again from differences; above it, ten digits are correct."""

ROWS = 512
"""Queries per block; a block holds the distances to the whole bank in memory."""


class LDN(Fitted):
    """Smallest density-normalised distance to a normal clip (Wilkinghoff et al. 2025), with d = (1 - cosine) / 2.

    rho(y) is the mean d from y to its K nearest other clips. With `exit`, the list of y ends before the first of them
    whose distance is more than `exit` times that of the one before, so that rho does not reach into another cluster
    (cluster exit, arXiv 2602.18777; there, the limit is a percentile of all such ratios, here a number).

    `form="ratio"` scores min_y d(x, y) / rho(y), `form="difference"` min_y d(x, y) - rho(y). Exact copies count once in
    rho, which would be 0 otherwise. K is capped at the number of other distinct clips. With one distinct clip there is
    no density: rho is 1 (ratio) or 0 (difference).

    Reference scores are exact leave-one-out: the clip is removed from the bank and from the densities of the others,
    so each score equals that of a detector fitted without the clip.
    """

    def __init__(
        self, *, K: int = 1, form: Literal["ratio", "difference"] = "ratio", exit: float | None = None
    ) -> None:
        self.K = K
        self.form = form
        self.exit = exit

    def _min_clips(self) -> int:
        if self.K < 1:
            raise ValueError(f"K={self.K}: expected at least 1 neighbour")
        if self.form not in FORMS:
            raise ValueError(f"unknown form {self.form!r}; choose from {', '.join(FORMS)}")
        if self.exit is not None and not 1 <= self.exit < np.inf:
            raise ValueError(f"exit={self.exit}: expected a ratio of distances of at least 1, or none")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        rows, self.copy_of_, self.copies_ = distinct_rows(unit(X))
        self.bank_ = rows
        others = min(self.K + 1, len(rows) - 1)  # one more than K: it replaces a neighbour that is left out
        own = np.arange(len(rows))
        self.neighbours_ = np.zeros((len(rows), 0), dtype=np.int64)
        distance = np.zeros((len(rows), 0))
        if others:
            distance, self.neighbours_ = nearest(rows, Bank.of(rows), others, exclude=own)
        self.neighbour_distance_ = distance / 2
        self.rho_ = self._density(self.neighbour_distance_[:, : self.K])

    def _density(self, distance: np.ndarray) -> np.ndarray:
        """Compute rho of bank rows from the distances (n, <= K) to their neighbours."""
        if not distance.shape[1]:
            return np.full(len(distance), FORMS[self.form][1])
        mean = distance.mean(axis=1) if self.exit is None else mean_until_exit(distance, self.exit)
        density: np.ndarray = np.maximum(mean, FLOOR)
        return density

    def _densities_without(self) -> np.ndarray:
        """Compute rho (n, K) of bank rows without each of their K neighbours; the one after the last replaces it."""
        distance = self.neighbour_distance_
        if self.exit is not None:
            return np.stack([self._density(np.delete(distance, place, axis=1)) for place in range(self.K)], axis=1)
        mean = (distance.sum(axis=1, keepdims=True) - distance[:, : self.K]) / self.K
        density: np.ndarray = np.maximum(mean, FLOOR)
        return density

    def _score(self, X: np.ndarray) -> np.ndarray:
        normalise = FORMS[self.form][0]
        blocks = half_distances(unit(X), self.bank_)
        return np.concatenate([normalise(distance, self.rho_).min(axis=1) for _, distance in blocks])

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        if len(self.bank_) <= self.K + 2:  # too few rows to replace every neighbour that is left out
            return self.cross_fitted(X, domain, group)
        scores: np.ndarray = self._leave_one_out()[self.copy_of_]
        return scores

    def _leave_one_out(self) -> np.ndarray:
        """Leave-one-out score of every distinct clip."""
        normalise = FORMS[self.form][0]
        near = self.neighbours_[:, : self.K]
        left_out, affected = near.ravel(), np.repeat(np.arange(len(near)), self.K)
        density = self._densities_without().ravel()
        scores = np.empty(len(near))
        for start, distance in half_distances(self.bank_, self.bank_):
            rho = np.tile(self.rho_, (len(distance), 1))
            in_block = (left_out >= start) & (left_out < start + len(distance))
            rho[left_out[in_block] - start, affected[in_block]] = density[in_block]
            normalised = normalise(distance, rho)
            own = np.arange(len(distance))
            normalised[own, own + start] = np.inf
            scores[start : start + len(distance)] = normalised.min(axis=1)
        copied = np.flatnonzero(self.copies_ > 1)  # a copy stays in the bank, so bank and densities do not change
        if len(copied):
            scores[copied] = self._score(self.bank_[copied])
        return scores


def mean_until_exit(distance: np.ndarray, ratio: float) -> np.ndarray:
    """Mean (n,) of rising distances (n, k) up to the first that is more than `ratio` times the one before."""
    steps = distance[:, 1:] > ratio * np.maximum(distance[:, :-1], FLOOR)
    inside = np.ones(distance.shape, dtype=bool)
    inside[:, 1:] = ~np.logical_or.accumulate(steps, axis=1)
    mean: np.ndarray = np.where(inside, distance, 0.0).sum(axis=1) / inside.sum(axis=1)
    return mean


def half_distances(queries: np.ndarray, bank: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of unit queries: number of the first row, and (1 - cosine) / 2 to every bank row, (rows, n)."""
    zero_bank = np.asarray(~bank.any(axis=1))
    for start in range(0, len(queries), ROWS):
        block = queries[start : start + ROWS]
        distance = np.clip(0.5 - 0.5 * (block @ bank.T), 0.0, 1.0)
        zero = np.asarray(~block.any(axis=1))
        if zero.any() or zero_bank.any():  # a zero vector has no direction: at 1 from all but other zero vectors
            distance[zero[:, None] ^ zero_bank] = 1.0
            distance[zero[:, None] & zero_bank] = 0.0
        _refine_small(distance, block, bank)
        yield start, distance


def _refine_small(distance: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Recompute small distances in place: 1 - cosine loses their digits, and copies must be at exactly 0."""
    row, column = np.nonzero(distance < NEAR)
    for i in range(0, len(row), ROWS):
        pairs = row[i : i + ROWS], column[i : i + ROWS]
        distance[pairs] = cosine_distance(left[pairs[0]], right[pairs[1]]) / 2


def _ratio(distance: np.ndarray, rho: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = distance / rho
    return normalised


def _difference(distance: np.ndarray, rho: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = distance - rho
    return normalised


FORMS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], float]] = {
    "ratio": (_ratio, 1.0),
    "difference": (_difference, 0.0),
}
"""How a distance is normalised, and rho where a bank has no density."""
