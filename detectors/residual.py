"""Scores of reconstruction residuals: the mean error, or the DCASE baseline's selective Mahalanobis distance."""

from typing import Literal

import numpy as np

from detectors.base import Fitted
from detectors.covariance import Moments, Precision, ledoit_wolf


class Residual(Fitted):
    """Score of residual vectors (n, d), as `ae` and `idnn` store them.

    score="mahalanobis" is for the view `residual`. It is the squared Mahalanobis length of a clip's mean residual, not
    centred, under the covariance of the source or of the target clips, whichever is smaller (DCASE 2023 baseline). The
    baseline computes the covariance over frames. The store holds one vector per clip, so here it is the shrunk
    covariance of the clips' mean residuals.

    score="mean" is for the views `squared` (mean error) and `weighted` (error weighted by its rank). It is the mean
    over the columns; it learns nothing, so reference scores are the training clips' own scores.
    """

    def __init__(self, *, score: Literal["mahalanobis", "mean"] = "mahalanobis") -> None:
        self.score = score

    def _min_clips(self) -> int:
        if self.score not in ("mahalanobis", "mean"):
            raise ValueError(f"unknown score {self.score!r}; choose from mahalanobis, mean")
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        X = np.asarray(X, dtype=np.float64)
        parts = [X[domain == name] for name in np.unique(domain)]
        self.precisions_ = [
            Precision.regularised(ledoit_wolf(Moments.of(part - part.mean(axis=0))))
            for part in parts
            if len(part) > 1 or len(parts) == 1
        ] or [Precision.regularised(ledoit_wolf(Moments.of(X - X.mean(axis=0))))]

    def _score(self, X: np.ndarray) -> np.ndarray:
        X = np.asarray(X, dtype=np.float64)
        if self.score == "mean":
            mean: np.ndarray = X.mean(axis=1)
            return mean
        smallest: np.ndarray = np.min([precision.squared_distance(X) for precision in self.precisions_], axis=0)
        return smallest

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        return self._score(X) if self.score == "mean" else self.cross_fitted(X, domain, group)
