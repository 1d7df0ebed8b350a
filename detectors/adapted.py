"""A detector of one's own, which need not know more than `fit` and `anomaly_score`, as every other one here."""

import copy
import inspect
from typing import Any

import numpy as np

from detectors.base import Fitted
from featstore.errors import place_of


class Adapted(Fitted):
    """Any object with `fit(X)` and `anomaly_score(X)`; `make_detector` wraps what is not built on `Fitted`.

    `fit` gets `domain` and `group` where it takes them. Reference scores are the object's own `reference_scores_`
    where it has them, else cross-fitted.
    """

    def __init__(self, *, detector: Any) -> None:
        self.detector = detector

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        learned = copy.deepcopy(self.detector)
        taken = inspect.signature(learned.fit).parameters
        labels = {name: value for name, value in (("domain", domain), ("group", group)) if name in taken}
        try:
            learned.fit(X, **labels)
        except Exception as error:
            raise self._failed("fit", error) from error
        self.detector_ = learned

    def _score(self, X: np.ndarray) -> np.ndarray:
        try:
            scores = np.asarray(self.detector_.anomaly_score(X), dtype=np.float64)
        except Exception as error:
            raise self._failed("anomaly_score", error) from error
        if scores.shape != (len(X),) or not np.isfinite(scores).all():
            raise ValueError(
                f"{type(self.detector).__name__}.anomaly_score: expected {len(X)} finite scores, got shape "
                f"{scores.shape} with {int((~np.isfinite(scores)).sum())} values that are not finite"
            )
        return scores

    def _failed(self, method: str, error: Exception) -> ValueError:
        name = f"{type(self.detector).__name__}.{method}"
        return ValueError(f"{name}: {type(error).__name__}: {error} ({place_of(error)})")

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        own = getattr(self.detector_, "reference_scores_", None)
        if own is None:
            return self.cross_fitted(X, domain, group)
        own = np.asarray(own, dtype=np.float64)
        if own.shape != (len(X),):
            raise ValueError(
                f"{type(self.detector).__name__}.reference_scores_: expected one score for each of the {len(X)} "
                f"training clips, got shape {own.shape}"
            )
        return own
