"""Standardisation and PCA whitening, learned from training clips and applied before a detector."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.base import Fitted
from detectors.covariance import LOSS, MAX_CONDITION
from detectors.shared import once


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> (x - mean) / scale @ axes; a constant column keeps its scale."""

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray | None

    @classmethod
    def of(cls, X: np.ndarray, *, standardize: bool, pca: int | None) -> "Whitening":
        """Learn from training clips X (n, d).

        `pca` is the number of components, each of unit variance. There are fewer where the clips span fewer dimensions,
        and `axes` is None where all clips are equal. Without `standardize`, the components are those of the raw
        columns.
        """
        mean, scale, _ = once(_standardisation, X)
        scale = scale if standardize else np.ones(len(scale))
        axes = None
        if pca is not None:
            all_axes = once(_whitening_axes, X, standardize=standardize)
            axes = np.ascontiguousarray(all_axes[:, :pca]) if all_axes.shape[1] else None
        return cls(mean, scale, axes)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Transform X (m, d) to float64 (m, components)."""
        standard: np.ndarray = (X - self.mean) / self.scale
        return standard if self.axes is None else standard @ self.axes


def _standardisation(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), standard deviation (1 for a constant column), and mask of the columns that vary."""
    X = np.array(X, dtype=np.float64, order="C")
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    varies = deviation > 1e-6 * np.abs(X).max(axis=0)  # float32 rounding of a constant is not spread
    return mean, np.where(varies, deviation, 1.0), varies


def _whitening_axes(X: np.ndarray, standardize: bool) -> np.ndarray:
    """All principal axes (d, p) that X spans, scaled to unit variance; the largest entry of each is positive."""
    mean, scale, varies = once(_standardisation, X)
    centred = np.where(varies, (X - mean) / (scale if standardize else 1.0), 0.0)
    n, d = centred.shape
    wide = n < d  # then the smaller matrix of products of rows has the same eigenvalues
    eigenvalues, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    p = np.count_nonzero(eigenvalues > max(eigenvalues[0], 0.0) / MAX_CONDITION)
    lengths = np.sqrt(eigenvalues[:p])
    axes = centred.T @ vectors[:, :p] / lengths if wide else vectors[:, :p]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(p)])
    scaled: np.ndarray = axes * signs / lengths * np.sqrt(max(n - 1, 1))
    return scaled


def scales_without(masks: list[np.ndarray], X: np.ndarray, whitening: Whitening) -> list[np.ndarray]:
    """Scales (d,) of rows X without those that each mask holds out, given the standardisation of all rows."""
    scales = []
    Z = X - whitening.mean
    squares = np.square(Z)
    total, variance = squares.sum(axis=0), np.square(whitening.scale)
    for mask in masks:
        n = len(X) - int(mask.sum())
        left = (total - squares[mask].sum(axis=0)) / n - np.square(Z[mask].sum(axis=0) / n)
        if (left < variance / LOSS).any():  # a column that hardly varies, or only in the rows held out
            scales.append(Whitening.of(X[~mask], standardize=True, pca=None).scale)
        else:
            scales.append(np.sqrt(left))
    return scales


class Preprocessed(Fitted):
    """A detector on standardised and PCA-whitened vectors; `make_detector` makes it.

    Reference scores are cross-fitted with the whitening in every fold, finely where there is a `pca`. A clip that took
    part in the whitening lies closer to the centre than a new clip does. The difference grows as the number of clips
    falls towards `pca`, and so does that between fits to nine tenths of the clips and to all. With fewer than two clips
    per component, even leave-one-out scores are too low (docs/decisions.md).
    """

    def __init__(self, *, detector: Fitted, standardize: bool = False, pca: int | None = None) -> None:
        self.detector = detector
        self.standardize = standardize
        self.pca = pca

    @property
    def finely(self) -> bool:  # type: ignore[override]
        """Whether folds are fine: principal components depend on the number of clips."""
        return self.pca is not None or self.detector.finely

    def _min_clips(self) -> int:
        if self.pca is not None and self.pca < 1:
            raise ValueError(f"pca={self.pca}: expected at least 1 component, or none")
        return self.detector._min_clips()

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        self.whitening_ = once(Whitening.of, X, standardize=self.standardize, pca=self.pca)
        self.detector_ = copy.copy(self.detector)
        self.detector_._learn(once(self.whitening_, X), domain, group)

    def _reference(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> np.ndarray:
        detector: Any = self.detector_
        if self.pca is None and getattr(detector, "updates_exactly", False):
            return self.filled(detector.without(X, standardize=self.standardize), X, domain, group)
        return self.cross_fitted(X, domain, group)

    def _held_out_scores(
        self, masks: list[np.ndarray], X: np.ndarray, domain: np.ndarray, group: np.ndarray
    ) -> Iterable[np.ndarray]:
        detector: Any = self.detector_
        if self.pca is not None or not getattr(detector, "ignores_shifts", False):
            return super()._held_out_scores(masks, X, domain, group)
        units = np.ones((len(masks), X.shape[1]))
        if self.standardize:
            units = np.stack(scales_without(masks, X, self.whitening_)) / self.whitening_.scale
        scores: Iterable[np.ndarray] = detector.scores_in_units(masks, self.whitening_(X), domain, group, units)
        return scores

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_._score(once(self.whitening_, X))
