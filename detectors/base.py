"""What every detector is, and the honest scores of the clips it was fitted on."""

import copy
from collections.abc import Iterator
from typing import Protocol, Self, runtime_checkable

import numpy as np

FOLDS = 10
"""Cross-fitting refits this often; banks of up to twice as many clips are scored leave-one-out."""


@runtime_checkable
class Detector(Protocol):
    """Constructor stores, fit learns, learned names end in `_`; higher scores are more anomalous, without exception."""

    reference_scores_: np.ndarray

    def fit(self, X: np.ndarray, *, domain: np.ndarray | None = None, group: np.ndarray | None = None) -> Self:
        """Learn from normal clips X (n, d); `domain` and `group` are texts (n,)."""
        ...

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        """Score of each row of X (m, d), float64 (m,)."""
        ...


class Fitted:
    """The part all detectors share: checked input, one training routine, honest reference scores.

    A detector writes `_learn` and `_score`, and `_reference` where it knows something better than cross-fitting.
    `reference_scores_` (n,) is in the order of the training rows. No clip is ever part of what scores it: a clip is
    left out by its row, so an exact copy of it in another row stays a legitimate neighbour. A single training clip has
    no honest score: its reference is NaN.
    """

    reference_scores_: np.ndarray
    n_features_: int

    def fit(self, X: np.ndarray, *, domain: np.ndarray | None = None, group: np.ndarray | None = None) -> Self:
        """Learn from normal clips X (n, d); `domain` and `group` are texts (n,). ValueError where X cannot be used."""
        learned = self._learned_from(X, domain, group)
        self.reference_scores_ = self._reference(*learned) if len(X) > 1 else np.full(1, np.nan)
        return self

    def learn(self, X: np.ndarray, *, domain: np.ndarray | None = None, group: np.ndarray | None = None) -> Self:
        """As `fit`, without reference scores: they cost several times the rest, and not everybody asks for them."""
        self._learned_from(X, domain, group)
        self.__dict__.pop("reference_scores_", None)  # an earlier fit is forgotten
        return self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        """Score of each row of X (m, d), float64 (m,); higher is more anomalous."""
        if not hasattr(self, "n_features_"):
            raise ValueError(f"{type(self).__name__} is not fitted; call fit with training clips first")
        X = checked(X, "clips to score")
        if X.shape[1] != self.n_features_:
            raise ValueError(f"clips to score have {X.shape[1]} dimensions, the training clips had {self.n_features_}")
        return self._score(X) if len(X) else np.zeros(0)

    def _learned_from(
        self, X: np.ndarray, domain: np.ndarray | None, group: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Check, learn, and return the rows and labels as they were learned from."""
        X = checked(X, "training clips")
        if len(X) < self._least():
            raise ValueError(
                f"{type(self).__name__} needs at least {self._least()} training clips, got {len(X)}; "
                "lower its k or check the section filter"
            )
        domain, group = _labels(domain, len(X), "domain"), _labels(group, len(X), "group")
        self.n_features_ = X.shape[1]
        self._learn(X, domain, group)
        return X, domain, group

    def _least(self) -> int:
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        raise NotImplementedError

    def _score(self, X: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        return self.cross_fitted(X, domain, group)

    def cross_fitted(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Score of every row by a copy of this detector that was fitted without the row's fold."""
        scores = np.full(len(X), np.nan)
        for held_out in folds(X, domain, group):
            part = copy.copy(self)
            part._learn(X[~held_out], domain[~held_out], group[~held_out])
            scores[held_out] = part._score(X[held_out])
        return scores


def checked(X: np.ndarray, what: str) -> np.ndarray:
    """X as a float32 or float64 matrix; ValueError unless it is two-dimensional, has columns, and is finite."""
    X = np.asarray(X)
    if X.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected numbers, got {X.dtype}")
    if X.ndim != 2 or not X.shape[1]:
        hint = "; choose one view first" if X.ndim == 3 else ""
        raise ValueError(f"{what}: expected a matrix (clips, dimensions), got shape {X.shape}{hint}")
    if what.startswith("training") and not len(X):
        raise ValueError(f"{what}: there are none; check the section filter")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0].tolist()
        raise ValueError(f"{what}: row {row}, column {column} is {X[row, column]}; every value must be finite")
    return X


def _labels(labels: np.ndarray | None, n: int, what: str) -> np.ndarray:
    """Labels as texts (n,), all empty where none are given."""
    if labels is None:
        return np.full(n, "")
    labels = np.asarray(labels, dtype=np.str_)
    if labels.shape != (n,):
        raise ValueError(f"{what}: expected one text for each of the {n} training clips, got shape {labels.shape}")
    return labels


def content_order(X: np.ndarray) -> np.ndarray:
    """Rank of each row by its content, equal rows sharing one (n,): what must not depend on row order depends on it."""
    ranks: np.ndarray = np.unique(X, axis=0, return_inverse=True)[1].reshape(-1)
    return ranks


def folds(X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> Iterator[np.ndarray]:
    """Masks of the rows held out together, each row exactly once.

    Folds depend on what the rows hold and not on their order, spread every (domain, group) evenly, and keep exact
    copies of a clip together, unless the clips are all alike.
    """
    if len(X) <= 2 * FOLDS:
        yield from np.eye(len(X), dtype=bool)
        return
    content = content_order(X)
    strata = np.unique(np.stack([domain, group]), axis=1, return_inverse=True)[1].reshape(-1)
    first = np.unique(content, return_index=True)[1]  # copies go with the first of them
    by_stratum = np.lexsort([np.arange(len(first)), strata[first]])
    fold_of_content = np.empty(len(first), dtype=np.intp)
    fold_of_content[by_stratum] = np.arange(len(first)) % FOLDS
    fold = fold_of_content[content] if len(first) > 1 else np.arange(len(X)) % FOLDS
    for k in range(FOLDS):
        if (fold == k).any():
            yield fold == k
