"""Squared Mahalanobis distance to the centre of the normal clips, or to the nearest of several centres."""

from typing import Literal

import numpy as np

from detectors.base import Fitted
from detectors.covariance import COVARIANCES, Moments, Precision
from detectors.geometry import geometric_median
from detectors.reference.gaussian import distances_without

ROUNDS = 10
"""Most rounds of trimming, where the set of inliers keeps changing."""


class Mahalanobis(Fitted):
    """Squared Mahalanobis distance to the nearest centre, with a shrunk covariance by default.

    `by` sets the number of centres: one for all clips, one per domain, or one per group (an attribute). The score is
    the minimum over the centres. The covariance of offsets from their own centres is shared; a domain with more clips
    than dimensions has its own. `covariance="empirical"` raises ValueError for too few clips. The shrunk covariances
    are regularised to a condition number of at most 1e10. `condition_` is the largest condition number in use.

    `trim` is the share of normal clips that may be lost. Clips beyond that chi-square quantile are left out of centres
    and covariance, repeatedly, as in SCAN (Liu et al. 2025). Distances are first scaled to the median that chi-square
    expects, so at least half of the clips stay. `inliers_` (n,) is the mask of the clips that stay.

    Reference scores are exact leave-one-out for one mean; those of several centres, of a geometric median and of `trim`
    are cross-fitted finely.
    """

    finely = True

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

    def _min_clips(self) -> int:
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
        inliers = np.ones(len(X), dtype=bool)
        self._learn_from(X, member)
        for _ in range(ROUNDS if self.trim else 0):
            before, inliers = inliers, self._within_limit(X, member)
            if (inliers == before).all():
                break
            self._learn_from(X[inliers], member[inliers])
        self.inliers_ = inliers

    def _learn_from(self, X: np.ndarray, member: np.ndarray) -> None:
        self.centres_ = np.stack([CENTRES[self.centre](X[member == g]) for g in range(member.max() + 1)])
        offsets = X - self.centres_[member]
        shared = self._precision(Moments.of(offsets), centres=len(self.centres_))
        own = np.bincount(member) > (X.shape[1] if self.by == "domain" else np.inf)
        self.precisions_ = [
            self._precision(Moments.of(offsets[member == g]), centres=1) if own[g] else shared
            for g in range(len(self.centres_))
        ]

    @property
    def condition_(self) -> float:
        """Largest condition number of a covariance in use."""
        return max(precision.condition for precision in self.precisions_)

    def _precision(self, moments: Moments, *, centres: int) -> Precision:
        if self.covariance == "empirical":
            return Precision.of(COVARIANCES["empirical"](moments, ddof=centres))
        return Precision.regularised(COVARIANCES[self.covariance](moments))

    @property
    def updates_exactly(self) -> bool:
        """Whether `without` gives the score of every clip by a fit to the others."""
        return self.centre == "mean" and self.by == "none" and self.trim is None

    def without(self, X: np.ndarray, *, standardize: bool) -> np.ndarray:
        """Score of every row by a fit to the others, on columns as they are or standardised; NaN where imprecise."""
        return distances_without(X, self.covariance, standardize=standardize)

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        if not self.updates_exactly:
            return self.cross_fitted(X, domain, group)
        return self.filled(self.without(X, standardize=False), X, domain, group)

    def _within_limit(self, X: np.ndarray, member: np.ndarray) -> np.ndarray:
        """Mask (n,) of the clips within the chi-square limit of their centre, or whose centre has none within it."""
        from scipy.stats import chi2

        squared = self._distances(X)[member, np.arange(len(X))]
        median, limit = chi2.ppf([0.5, 1 - (self.trim or 0)], X.shape[1])
        within = squared * median <= limit * np.median(squared)
        emptied = np.bincount(member, weights=within) == 0
        inliers: np.ndarray = within | emptied[member]
        return inliers

    def _distances(self, X: np.ndarray) -> np.ndarray:
        """Squared distance of every row to every centre, (centres, m)."""
        pairs = zip(self.centres_, self.precisions_, strict=True)
        squared: np.ndarray = np.stack([precision.squared_distance(X - centre) for centre, precision in pairs])
        return squared

    def _score(self, X: np.ndarray) -> np.ndarray:
        to_nearest: np.ndarray = self._distances(X).min(axis=0)
        return to_nearest


def _mean(X: np.ndarray) -> np.ndarray:
    mean: np.ndarray = X.mean(axis=0)
    return mean


CENTRES = {"mean": _mean, "geometric_median": geometric_median}
