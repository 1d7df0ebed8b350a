"""Local outlier factor (Breunig et al. 2000), from the neighbour lists of `search`."""

import numpy as np

from detectors.base import Fitted, distinct_rows
from detectors.search.neighbours import Bank, nearest
from detectors.shared import longest_list, once

LEAST = 1e-10
"""Added to a mean reachability distance, as in scikit-learn: densities stay finite."""


class LOF(Fitted):
    """Density of a clip's neighbours divided by its own density; about 1 for a normal clip, more for an outlier.

    Distances are Euclidean. Exact copies count once, since the density of copies is infinite. `k` is capped at the
    number of other distinct clips. With one distinct clip, the score is 1 plus the distance to it. Reference scores are
    cross-fitted.
    """

    def __init__(self, *, k: int = 20) -> None:
        self.k = k

    def _min_clips(self) -> int:
        if self.k < 1:
            raise ValueError(f"k={self.k}: expected at least 1 neighbour")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        self.bank_ = once(_distinct, X)
        self.k_distance_ = self.density_ = np.zeros(1)  # one distinct clip has neither
        if len(self.bank_.rows) > 1:
            distance, row = self._neighbours(self.bank_.rows, among_themselves=True)
            self.k_distance_ = distance[:, -1]
            self.density_ = self._density(distance, row)

    def _score(self, X: np.ndarray) -> np.ndarray:
        distance, row = self._neighbours(X)
        if len(self.bank_.rows) == 1:
            return 1.0 + distance[:, 0]
        factor: np.ndarray = self.density_[row].mean(axis=1) / self._density(distance, row)
        return factor

    def _neighbours(self, X: np.ndarray, *, among_themselves: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Distance (m, k) and row (m, k) of the k nearest distinct clips."""
        others = max(len(self.bank_.rows) - 1, 1)
        k = min(self.k, others)
        longest = longest_list(self, k, others)
        distance, row = once(_lists, X, self.bank_, k=longest, among_themselves=among_themselves)
        return distance[:, :k], row[:, :k]

    def _density(self, distance: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Local reachability density (m,): no neighbour counts as nearer than its own k-th neighbour is to it."""
        reached = np.maximum(distance, self.k_distance_[row])
        density: np.ndarray = 1.0 / (reached.mean(axis=1) + LEAST)
        return density


def _distinct(X: np.ndarray) -> Bank:
    return Bank.of(distinct_rows(np.asarray(X, dtype=np.float64))[0], "euclidean")


def _lists(X: np.ndarray, bank: Bank, *, k: int, among_themselves: bool) -> tuple[np.ndarray, np.ndarray]:
    own = np.arange(len(X)) if among_themselves else None
    half, row = nearest(np.asarray(X, dtype=np.float64), bank, k, exclude=own)
    return np.sqrt(2.0 * half), row
