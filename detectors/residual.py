"""Scores of what a reconstruction left over: a mean error, or the baseline's selective Mahalanobis distance."""

from typing import Literal

import numpy as np

from detectors.base import Fitted
from detectors.geometry import Precision, ledoit_wolf


class Residual(Fitted):
    """Score of residual vectors (n, d), as `ae` and `idnn` store them.

    score="mahalanobis" reads the view `residual`: the squared Mahalanobis length of a clip's mean residual, not
    centred, under the covariance of the source or of the target clips, whichever gives less (DCASE 2023 baseline). The
    baseline takes that covariance over frames; the store holds clips, so here it is that of their means, shrunk.
    score="mean" reads `squared` (mean error) or `weighted` (error weighted by its rank): the mean over columns, for
    which nothing is learned, so that reference scores are the training clips' own.
    """

    def __init__(self, *, score: Literal["mahalanobis", "mean"] = "mahalanobis") -> None:
        self.score = score

    def _least(self) -> int:
        if self.score not in ("mahalanobis", "mean"):
            raise ValueError(f"unknown score {self.score!r}; choose from mahalanobis, mean")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        X = np.asarray(X, dtype=np.float64)
        parts = [X[domain == name] for name in np.unique(domain)]
        self.precisions_ = [
            Precision.within_reach(ledoit_wolf(part - part.mean(axis=0)))
            for part in parts
            if len(part) > 1 or len(parts) == 1
        ] or [Precision.within_reach(ledoit_wolf(X - X.mean(axis=0)))]

    def _score(self, X: np.ndarray) -> np.ndarray:
        X = np.asarray(X, dtype=np.float64)
        if self.score == "mean":
            mean: np.ndarray = X.mean(axis=1)
            return mean
        least: np.ndarray = np.min([precision.squared_distance(X) for precision in self.precisions_], axis=0)
        return least

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        return self._score(X) if self.score == "mean" else self.cross_fitted(X, domain, group)
