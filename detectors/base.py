"""What all detectors share: the protocol, checks of the input, and reference scores in which no clip scores itself."""

import copy
from collections.abc import Iterable, Iterator
from typing import Protocol, Self, runtime_checkable

import numpy as np

from detectors.shared import once, sharing

FOLDS = 10
"""Folds of cross-fitting; up to twice as many clips are scored leave-one-out."""

FINE_ROWS = 1 << 14
"""Rows that all fits of a finer cross-fitting learn from together, unless ten folds need more (see `Fitted.finely`)."""


@runtime_checkable
class Detector(Protocol):
    """Turns vectors into anomaly scores; a higher score is more anomalous, without exception.

    The constructor only stores its parameters, `fit` learns, and the names of learned attributes end in `_`.
    """

    reference_scores_: np.ndarray

    def fit(
        self,
        X: np.ndarray,
        *,
        domain: np.ndarray | None = None,
        group: np.ndarray | None = None,
        block: np.ndarray | None = None,
    ) -> Self:
        """Learn from normal clips X (n, d); `domain`, `group` and `block` have one value per clip, see `Fitted`."""
        ...

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        """Score of each row of X (m, d), float64 (m,)."""
        ...


class Fitted:
    """Base class of all detectors: checks the input, runs the training, computes the reference scores.

    A subclass implements `_learn` and `_score`, and `_reference` where it has a better method than cross-fitting.
    `reference_scores_` (n,) is in the order of the training rows. A clip takes no part in its own reference score. It
    is left out by its row number, so an exact copy of it in another row may still be its neighbour. A single training
    clip has no reference score: the value is NaN.

    `group` and `block` differ. Groups are attribute values that a detector may learn from (one centre per group).
    Blocks are clips that hang together, as those of one day: they take no part in each other's reference scores (block
    cross-validation, Roberts et al. 2017), and nothing is learned from their names. Every reference score then comes
    from a fit from scratch to the clips of other blocks: of all others for up to twenty blocks, else by ten folds of
    whole blocks. Where every clip is a block of its own, blocks change nothing.

    A fit without a tenth of the clips is not the final fit. Where scores depend on the number of clips, as where there
    are fewer clips than dimensions, the reference is then too low. `finely` cross-fits in as many folds as FINE_ROWS
    allow: leave-one-out up to 128 clips, ten folds from 1,638 clips on.
    """

    reference_scores_: np.ndarray
    n_features_: int
    finely: bool = False

    def fit(
        self,
        X: np.ndarray,
        *,
        domain: np.ndarray | None = None,
        group: np.ndarray | None = None,
        block: np.ndarray | None = None,
    ) -> Self:
        """Learn from normal clips X (n, d).

        `domain` and `group` are texts (n,); `block` are texts or numbers (n,). ValueError for unusable input, also
        where all clips are of one block.
        """
        X, domain, group = self._check_and_learn(X, domain, group)
        block = _check_block(block, len(X))
        if len(X) < 2:
            self.reference_scores_ = np.full(1, np.nan)
        elif block is None:
            self.reference_scores_ = self._reference(X, domain, group)
        else:
            masks = list(block_folds(block))
            self.reference_scores_ = _joined(masks, Fitted._held_out_scores(self, masks, X, domain, group))
        return self

    def learn(self, X: np.ndarray, *, domain: np.ndarray | None = None, group: np.ndarray | None = None) -> Self:
        """As `fit`, without `reference_scores_`, which take several times as long as the rest."""
        self._check_and_learn(X, domain, group)
        self.__dict__.pop("reference_scores_", None)  # those of an earlier fit
        return self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        """Score of each row of X (m, d), float64 (m,); higher is more anomalous."""
        if not hasattr(self, "n_features_"):
            raise ValueError(f"{type(self).__name__} is not fitted; call fit with training clips first")
        X = once(check_matrix, X, "clips to score")
        if X.shape[1] != self.n_features_:
            raise ValueError(f"clips to score have {X.shape[1]} dimensions, the training clips had {self.n_features_}")
        return self._score(X) if len(X) else np.zeros(0)

    def _check_and_learn(
        self, X: np.ndarray, domain: np.ndarray | None, group: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, domains and groups in the form in which they were learned."""
        X = once(check_matrix, X, "training clips")
        if len(X) < self._min_clips():
            raise ValueError(
                f"{type(self).__name__} needs at least {self._min_clips()} training clips, got {len(X)}; "
                "lower its k or check the section filter"
            )
        domain, group = _check_labels(domain, len(X), "domain"), _check_labels(group, len(X), "group")
        self.n_features_ = X.shape[1]
        self._learn(X, domain, group)
        return X, domain, group

    def _min_clips(self) -> int:
        """Least number of training clips; ValueError for parameters out of range."""
        return 1

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        raise NotImplementedError

    def _score(self, X: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        return self.cross_fitted(X, domain, group)

    def cross_fitted(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Score of every row by a copy of this detector that was fitted without the row's fold."""
        count = max(FOLDS, FINE_ROWS // len(X)) if self.finely else FOLDS
        masks = once(_masks, X, domain, group, count=count)
        return _joined(masks, self._held_out_scores(masks, X, domain, group))

    def filled(self, scores: np.ndarray, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Scores (n,) of clips by fits to the others; those that are NaN are computed by fits from scratch."""
        missing = np.flatnonzero(np.isnan(scores))
        if len(missing) > 2 * FOLDS:
            scores[missing] = self.cross_fitted(X, domain, group)[missing]
        elif len(missing):
            masks = list(np.eye(len(X), dtype=bool)[missing])
            scores[missing] = np.concatenate(list(self._held_out_scores(masks, X, domain, group)))
        return scores

    def _held_out_scores(
        self, masks: list[np.ndarray], X: np.ndarray, domain: np.ndarray, group: np.ndarray
    ) -> Iterable[np.ndarray]:
        """Scores of the rows that each mask holds out, by a copy learned from the other rows."""
        for held_out in masks:
            with sharing():  # what is computed for a fold is freed with it
                detector = copy.copy(self)
                detector._learn(X[~held_out], domain[~held_out], group[~held_out])
                scores = detector._score(X[held_out])
            yield scores


def _joined(masks: list[np.ndarray], parts: Iterable[np.ndarray]) -> np.ndarray:
    """Scores (n,) from those of the rows that each mask (n,) holds out."""
    scores = np.full(len(masks[0]), np.nan)
    for held_out, held_out_scores in zip(masks, parts, strict=True):
        scores[held_out] = held_out_scores
    return scores


def _masks(X: np.ndarray, domain: np.ndarray, group: np.ndarray, *, count: int) -> list[np.ndarray]:
    return list(folds(X, domain, group, count))


def check_matrix(X: np.ndarray, what: str) -> np.ndarray:
    """X as a float32 or float64 matrix; ValueError unless it is two-dimensional, has columns, and is finite."""
    X = np.asarray(X)
    if X.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected numbers, got {X.dtype}")
    if X.ndim != 2 or not X.shape[1]:
        hint = "; choose one view first" if X.ndim == 3 else ""
        raise ValueError(f"{what}: expected a matrix (clips, dimensions), got shape {X.shape}{hint}")
    if what.startswith("training") and not len(X):
        raise ValueError(f"{what}: expected at least 1, got none; check the section filter")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0].tolist()
        raise ValueError(f"{what}: row {row}, column {column} is {X[row, column]}; every value must be finite")
    return X


def _check_labels(labels: np.ndarray | None, n: int, what: str) -> np.ndarray:
    """Labels as texts (n,); empty texts for None."""
    if labels is None:
        return np.full(n, "")
    labels = np.asarray(labels, dtype=np.str_)
    if labels.shape != (n,):
        raise ValueError(f"{what}: expected one text for each of the {n} training clips, got shape {labels.shape}")
    return labels


def _check_block(block: np.ndarray | None, n: int) -> np.ndarray | None:
    """Number (n,) of each clip's block; None where every clip is a block of its own."""
    if block is None:
        return None
    values, number = np.unique(np.asarray(block), return_inverse=True)
    if number.shape != (n,):
        raise ValueError(f"block: expected one value for each of the {n} training clips, got shape {number.shape}")
    if len(values) == n:
        return None
    if len(values) == 1:
        raise ValueError(
            f"block: all {n} training clips are of the block {values[0]}, so none has a reference; leave out block, or "
            "add clips of another block"
        )
    return number


def content_order(X: np.ndarray) -> np.ndarray:
    """Rank (n,) of each row among the sorted distinct rows; equal rows share a rank.

    A method that depends on the order of its rows gets them sorted by this rank, so its result does not.
    """
    varying = np.flatnonzero((X[:1] != X).any(axis=0))[:1]
    values, ranks = np.unique(X[:, varying], return_inverse=True)
    if len(values) < len(X):  # the first column that varies at all does not settle it
        ranks = np.unique(X, axis=0, return_inverse=True)[1]
    return np.asarray(ranks).reshape(-1)


def distinct_rows(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sorted distinct rows, which of them each row of X is (n,), and how often each occurs."""
    ranks = content_order(X)
    return X[np.unique(ranks, return_index=True)[1]], ranks, np.bincount(ranks)


def folds(X: np.ndarray, domain: np.ndarray, group: np.ndarray, count: int = FOLDS) -> Iterator[np.ndarray]:
    """Masks (n,) of the rows that are held out together, in up to `count` folds; each row is held out exactly once.

    Folds depend on the content of the rows and not on their order. They spread every (domain, group) evenly and keep
    exact copies of a clip together, unless all clips are equal.
    """
    if len(X) <= max(2 * FOLDS, count):
        yield from np.eye(len(X), dtype=bool)
        return
    content = content_order(X)
    strata = np.unique(np.stack([domain, group]), axis=1, return_inverse=True)[1].reshape(-1)
    first = np.unique(content, return_index=True)[1]  # copies share the fold of the first of them
    by_stratum = np.lexsort([np.arange(len(first)), strata[first]])
    fold_of_content = np.empty(len(first), dtype=np.intp)
    fold_of_content[by_stratum] = np.arange(len(first)) % count
    fold = fold_of_content[content] if len(first) > 1 else np.arange(len(X)) % count
    for k in range(count):
        if (fold == k).any():
            yield fold == k


def block_folds(block: np.ndarray) -> Iterator[np.ndarray]:
    """Masks (n,) of the rows that are held out together, from their block numbers (n,): whole blocks.

    Each of up to twice FOLDS blocks is a fold. More blocks are spread over FOLDS folds of similar size, the largest
    first.
    """
    sizes = np.bincount(block)
    fold_of = np.arange(len(sizes))
    if len(sizes) > 2 * FOLDS:
        filled = np.zeros(FOLDS)
        for largest in np.argsort(-sizes, kind="stable"):
            fold_of[largest] = np.argmin(filled)
            filled[fold_of[largest]] += sizes[largest]
    for fold in np.unique(fold_of):
        yield fold_of[block] == fold
