"""Squared Mahalanobis distance to the centre of the normal clips, or to the nearest of several centres."""

from typing import Literal

import numpy as np

from detectors.base import Fitted
from detectors.geometry import COVARIANCES, Precision, geometric_median

ROUNDS = 10
"""Trimming stops here if clips still come and go."""


class Mahalanobis(Fitted):
    """Squared Mahalanobis distance to the nearest centre, with a shrunk covariance by default.

    `by` makes one centre in all, one per domain, or one per group (an attribute); the score is the minimum. The
    covariance of offsets from their own centres is shared, except that a domain with more clips than dimensions gets
    its own. `covariance="empirical"` refuses too few clips; the shrunk ones take as much identity as a condition
    number of 1e10 needs. `condition_` is the largest condition number of what was inverted.

    `trim` is the share of clean clips one is ready to lose: clips beyond that chi-square quantile are left out of
    centres and covariance, repeatedly, as in SCAN (Liu et al. 2025). Distances are first scaled to the median that
    chi-square expects, so at least half of the clips always stay; `kept_` (n,) says which.

    Reference scores are cross-fitted in ten folds, or leave-one-out for up to twenty clips.
    """

    def __init__(
        self,
        *,
        centre: Literal["mean", "geometric_median"] = "mean",
        covariance: Literal["empirical", "ledoit_wolf", "oas"] = "ledoit_wolf",
        by: Literal["none", "domain", "group"] = "none",
        trim: float | None = None,
    ) -> None:
        self.centre = centre
        self.covariance = covariance
        self.by = by
        self.trim = trim

    def _least(self) -> int:
        for name, value, known in (
            ("centre", self.centre, CENTRES),
            ("covariance", self.covariance, COVARIANCES),
            ("by", self.by, ("none", "domain", "group")),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
        if self.trim is not None and not 0 < self.trim < 0.5:
            raise ValueError(f"trim={self.trim}: expected a share between 0 and 0.5, or none")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        X = np.asarray(X, dtype=np.float64)
        labels = {"none": np.zeros(len(X)), "domain": domain, "group": group}[self.by]
        member = np.unique(labels, return_inverse=True)[1].reshape(-1)
        kept = np.ones(len(X), dtype=bool)
        self._learn_from(X, member, kept)
        for _ in range(ROUNDS if self.trim else 0):
            before, kept = kept, self._within(X, member)
            if (kept == before).all():
                break
            self._learn_from(X, member, kept)
        self.kept_ = kept

    def _learn_from(self, X: np.ndarray, member: np.ndarray, kept: np.ndarray) -> None:
        X, member = X[kept], member[kept]
        self.centres_ = np.stack([CENTRES[self.centre](X[member == g]) for g in range(member.max() + 1)])
        offsets = X - self.centres_[member]
        shared = self._precision(offsets, centres=len(self.centres_))
        own = np.bincount(member) > (X.shape[1] if self.by == "domain" else np.inf)
        self.precisions_ = [
            self._precision(offsets[member == g], centres=1) if own[g] else shared for g in range(len(self.centres_))
        ]
        self.condition_ = max(precision.condition for precision in self.precisions_)

    def _precision(self, offsets: np.ndarray, *, centres: int) -> Precision:
        estimate = COVARIANCES[self.covariance]
        if self.covariance == "empirical":
            return Precision.of(estimate(offsets, ddof=centres))
        return Precision.within_reach(estimate(offsets))

    def _within(self, X: np.ndarray, member: np.ndarray) -> np.ndarray:
        """Mask of the clips that are no further from their own centre than chi-square allows."""
        from scipy.stats import chi2

        squared = self._distances(X)[member, np.arange(len(X))]
        median, limit = chi2.ppf([0.5, 1 - (self.trim or 0)], X.shape[1])
        kept = squared * median <= limit * np.median(squared)
        emptied = np.bincount(member, weights=kept) == 0
        stays: np.ndarray = kept | emptied[member]
        return stays

    def _distances(self, X: np.ndarray) -> np.ndarray:
        """Squared distance of every row to every centre, (centres, m)."""
        pairs = zip(self.centres_, self.precisions_, strict=True)
        squared: np.ndarray = np.stack([precision.squared_distance(X - centre) for centre, precision in pairs])
        return squared

    def _score(self, X: np.ndarray) -> np.ndarray:
        least: np.ndarray = self._distances(X).min(axis=0)
        return least


def _mean(X: np.ndarray) -> np.ndarray:
    mean: np.ndarray = X.mean(axis=0)
    return mean


CENTRES = {"mean": _mean, "geometric_median": geometric_median}
