"""Local outlier factor (Breunig et al. 2000), by scikit-learn."""

import warnings

import numpy as np

from detectors.base import Fitted


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
        from sklearn.neighbors import LocalOutlierFactor
        from threadpoolctl import threadpool_limits

        rows = np.unique(np.asarray(X, dtype=np.float64), axis=0)
        self.only_ = rows[0] if len(rows) == 1 else None
        if self.only_ is None:
            self.factor_ = LocalOutlierFactor(min(self.k, len(rows) - 1), novelty=True)
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Duplicate values", UserWarning)  # exact copies are merged
                self.factor_.fit(rows)

    def _score(self, X: np.ndarray) -> np.ndarray:
        from threadpoolctl import threadpool_limits

        X = np.asarray(X, dtype=np.float64)
        if self.only_ is not None:
            distance: np.ndarray = np.sqrt(np.square(X - self.only_).sum(axis=1))
            return 1.0 + distance
        with threadpool_limits(1):
            score: np.ndarray = -self.factor_.score_samples(X)
        return score
