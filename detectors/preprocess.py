"""Standardisation and PCA whitening fitted on training clips, before any detector."""

import copy
from dataclasses import dataclass

import numpy as np

from detectors.base import Fitted
from detectors.geometry import MAX_CONDITION


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> (x - mean) / scale @ axes; a column that never varied keeps its scale."""

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray | None

    @classmethod
    def of(cls, X: np.ndarray, *, standardize: bool, pca: int | None) -> "Whitening":
        """Learned from training clips X (n, d).

        `pca` components of unit variance are kept, fewer where the clips do not span that many, and none where no
        clip differs from another; without `standardize` the components are those of the raw columns.
        """
        X = np.array(X, dtype=np.float64, order="C")
        mean = X.mean(axis=0)
        deviation = X.std(axis=0)
        varies = deviation > 1e-6 * np.abs(X).max(axis=0)  # float32 rounding of a constant is not spread
        scale = np.where(varies & standardize, deviation, 1.0)
        axes = _whitening_axes(np.where(varies, (X - mean) / scale, 0.0), pca) if pca is not None else None
        return cls(mean, scale, axes)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """X (m, d) in the new coordinates, float64."""
        standard: np.ndarray = (X - self.mean) / self.scale
        return standard if self.axes is None else standard @ self.axes


def _whitening_axes(centred: np.ndarray, pca: int) -> np.ndarray | None:
    """Principal axes (d, p) scaled to unit variance, each with a positive largest entry; None without any spread."""
    n, d = centred.shape
    wide = n < d  # then the products of the rows have the same eigenvalues and are fewer
    eigenvalues, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    spanned = np.count_nonzero(eigenvalues > max(eigenvalues[0], 0.0) / MAX_CONDITION)
    kept = min(pca, int(spanned))
    if not kept:
        return None
    lengths = np.sqrt(eigenvalues[:kept])
    axes = centred.T @ vectors[:, :kept] / lengths if wide else vectors[:, :kept]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    scaled: np.ndarray = axes * signs / lengths * np.sqrt(max(n - 1, 1))
    return scaled


class Preprocessed(Fitted):
    """A detector behind standardisation and PCA whitening; `make_detector` puts it there.

    Reference scores are cross-fitted through the whole pipeline: a clip that took part in the whitening lies closer to
    the middle of the whitened data than a new one, the more so the nearer the clips are in number to the components.
    """

    def __init__(self, *, detector: Fitted, standardize: bool = False, pca: int | None = None) -> None:
        self.detector = detector
        self.standardize = standardize
        self.pca = pca

    def _least(self) -> int:
        if self.pca is not None and self.pca < 1:
            raise ValueError(f"pca={self.pca}: expected at least 1 component, or none")
        return self.detector._least()

    def _learn(self, X: np.ndarray, domain: np.ndarray, group: np.ndarray) -> None:
        self.whitening_ = Whitening.of(X, standardize=self.standardize, pca=self.pca)
        self.detector_ = copy.copy(self.detector)
        self.detector_._learn(self.whitening_(X), domain, group)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_._score(self.whitening_(X))
