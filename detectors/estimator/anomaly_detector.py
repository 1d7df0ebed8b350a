"""`AnomalyDetector`: any detector by name, with the methods of scikit-learn and the learned attributes of PyOD."""

import math
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from detectors.estimator.parameters import NamedDetector
from detectors.estimator.training_rows import TrainingRows
from detectors.metrics.quantile import quantile_rank


class AnomalyDetector(OutlierMixin, NamedDetector):  # type: ignore[misc]
    """A detector of this project, of scikit-learn or of PyOD as an outlier detector of scikit-learn.

        AnomalyDetector("mahalanobis", covariance="oas", contamination=0.1).fit(normal).predict(new)

    detector: a name, as `-d` takes it: knn, mahalanobis, sklearn:IsolationForest, module:Class. contamination: the
    false-alarm rate on new normal clips, in (0, 0.5]; the training rows are taken to be normal. Every other keyword is
    one of the detector, also `standardize` and `pca`.

    `score_samples` and `decision_function` are higher for more normal rows, as in scikit-learn: the opposite of
    `anomaly_score` here and of `decision_function` in PyOD. `predict` gives 1 for normal and -1 for anomalous rows.

    A row that equals a training row gets the score of a fit without it, for no row may score against itself. So
    `fit(X).predict(X)` reports the share `contamination` of X, ties aside. Rows are compared by their exact values.

    Learned: `decision_scores_` (n,) are the honest reference scores of the training rows, `threshold_` their quantile
    of the false-alarm rate, `labels_` (n,) 1 where a score is above it, else 0 (PyOD); `offset_` is `-threshold_`
    (scikit-learn); `detector_` is the fitted detector, `n_features_in_` and `feature_names_in_` describe its columns.
    """

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        domain: Any = None,
        group: Any = None,
        block: Any = None,
    ) -> Self:
        """Learn from normal rows X (n, d), at least 2; `y` is ignored.

        domain, group and block (n,) are those of `detectors.base.Fitted.fit`; in a Pipeline or a search they come by
        metadata routing, after `set_fit_request(domain=True, group=True, block=True)`. ValueError for unusable rows, an
        unknown detector or keyword, or a contamination out of range.
        """
        X = self._rows(X, reset=True, ensure_min_samples=2)
        rate = self.contamination
        if isinstance(rate, bool) or not isinstance(rate, float | int | np.number) or not 0 < rate <= 0.5:
            raise ValueError(f"contamination={rate!r}: expected a false-alarm rate above 0 and up to 0.5")
        given = {} if block is None else {"block": np.asarray(block)}
        try:
            self.detector_ = self._made().fit(X, domain=_texts(domain), group=_texts(group), **given)
        except TypeError as error:
            raise ValueError(f"{self}: a keyword of another type than expected ({error})") from error
        self.decision_scores_ = np.asarray(self.detector_.reference_scores_, dtype=np.float64)
        self.threshold_ = threshold_of(self.decision_scores_, float(rate))
        self.offset_ = -self.threshold_
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        self.training_rows_ = TrainingRows.of(X, self.decision_scores_)
        return self

    def fit_predict(self, X: Any, y: Any = None, *, domain: Any = None, group: Any = None, block: Any = None) -> Any:
        """1 or -1 for each of the rows X (n, d) that are learned from, each by the others."""
        return np.where(self.fit(X, y, domain=domain, group=group, block=block).labels_, -1, 1)

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Score of each row of X (m, d), float64 (m,); higher is more anomalous."""
        check_is_fitted(self, "detector_")
        X = self._rows(X, reset=False)
        return self.training_rows_.in_place_of(np.array(self.detector_.anomaly_score(X)), X)

    def score_samples(self, X: Any) -> np.ndarray:
        """The opposite of `anomaly_score` (m,): higher is more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` minus `offset_` (m,): negative for anomalies."""
        scores: np.ndarray = self.score_samples(X) - self.offset_
        return scores

    def predict(self, X: Any) -> np.ndarray:
        """1 for a normal row, -1 for an anomalous one, int (m,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _rows(self, X: Any, **options: Any) -> np.ndarray:
        """X as a matrix of floats; ValueError of scikit-learn for what is none."""
        rows: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32], **options)
        return rows


def threshold_of(reference: np.ndarray, rate: float) -> float:
    """Threshold that reports floor(n * rate) of n reference scores, ties aside: each by its place among the others.

    It is the ceil((n + 1)(1 - rate))-th smallest, as `detect` sets it for new clips. That clip itself is often above
    the threshold of the n - 1 others. The number just below then reports it, and every new clip as before.
    """
    ordered = np.sort(reference)
    rank = quantile_rank(len(ordered), rate)
    value = ordered[rank - 1]
    reported = math.floor(len(ordered) * rate + 1e-9)
    itself = len(ordered) - rank < reported and (ordered == value).sum() == 1
    return float(np.nextafter(value, -np.inf) if itself else value)


def _texts(labels: Any) -> np.ndarray | None:
    return None if labels is None else np.asarray(labels)
