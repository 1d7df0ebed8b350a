"""EM steps of Gaussian mixtures with diagonal or tied covariances, for several fits to the same rows side by side.

Shapes and symbols are those of full.py; R is 0 where a fit leaves a row out. Only the fits that are `running`, by their
numbers, take a step.
"""

from typing import Any

import numpy as np

from detectors.mixtures.full import LOSS, SINGULAR, Full, log_scales, log_sum, squared_lengths, whitening, without


class _Linear:
    """Fits side by side in which a row's log densities are linear in some `terms` (n, t) of it."""

    def __init__(self, X: np.ndarray, floor: np.ndarray, k: int, *, terms: np.ndarray) -> None:
        fits, d = floor.shape
        self.floor, self._terms = floor, terms
        self.means = np.zeros((fits, k, d))
        self.factors: list[Any] = [None] * fits
        self._slopes = np.zeros((fits, k, terms.shape[1]))
        self._offsets = np.zeros((fits, k))
        self._constants = np.zeros(fits)
        self._sums = np.zeros_like(self._slopes)
        self._R = np.zeros((fits, k, len(X)))

    def _summed(self, R: np.ndarray, running: np.ndarray, *, anew: bool = False) -> np.ndarray:
        """Sums of the terms (r, k, t), from the rows whose share changed where these are few."""
        fits, k, n = R.shape
        change = R - self._R[running]
        rows = np.flatnonzero(change.any(axis=(0, 1)))
        if anew or 3 * len(rows) > n:
            self._sums[running] = (R.reshape(fits * k, n) @ self._terms).reshape(fits, k, -1)
        elif len(rows):
            few = change[..., rows].reshape(fits * k, len(rows))
            self._sums[running] += (few @ self._terms[rows]).reshape(fits, k, -1)
        self._R[running] = R
        sums: np.ndarray = self._sums[running]
        return sums

    def expect(self, log_weights: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Summed log density of the rows (r,), and the new responsibilities (r, k, n)."""
        slopes = self._slopes[running]
        joint = (slopes.reshape(-1, slopes.shape[-1]) @ self._terms.T).reshape(*slopes.shape[:2], -1)
        joint += (self._offsets[running] + log_weights)[..., None]
        total, R = log_sum(joint)
        taken = self._R[running].any(axis=1)
        return (total * taken).sum(axis=1) + self._constants[running], R * taken[:, None]


class Tied(_Linear):
    """One matrix for all components of a fit, with a factor as in `Full`; (factor,) is what a fit keeps."""

    def __init__(self, X: np.ndarray, floor: np.ndarray, k: int) -> None:
        super().__init__(X, floor, k, terms=X)
        self._scatters: list[tuple[np.ndarray, np.ndarray]] = []

    def maximise(self, R: np.ndarray, counts: np.ndarray, running: np.ndarray) -> None:
        """Learn means and factors."""
        if not self._scatters:
            whole = self._terms.T @ self._terms
            self._scatters = [self._scatter(whole, taken) for taken in np.any(R, axis=1)]
        self.means[running] = self._summed(R, running) / counts[..., None]
        for f, count in zip(running, counts, strict=True):
            means, n, (origin, scatter) = self.means[f], count.sum(), self._scatters[f]
            shifts = means - origin
            factor = whitening((scatter - (count * shifts.T) @ shifts) / n, self.floor[f])
            centres = means @ factor
            lengths = squared_lengths(centres)
            self.factors[f] = (factor,)
            self._slopes[f], self._offsets[f] = centres @ factor.T, -0.5 * lengths
            spread = n * (len(factor) - self.floor[f] @ squared_lengths(factor)) + count @ lengths
            self._constants[f] = n * log_scales([factor])[0] - 0.5 * spread

    def _scatter(self, whole: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scatter of the rows that a fit takes, and the point about which: of all rows less the others, if exact."""
        scatter = without(whole, self._terms[~taken])
        if scatter is not None:
            return np.zeros(len(whole)), scatter
        origin = self._terms[taken].mean(axis=0)
        offsets = self._terms[taken] - origin
        return origin, offsets.T @ offsets

    @staticmethod
    def log_joint(X: np.ndarray, means: np.ndarray, factors: Any, log_weights: np.ndarray) -> np.ndarray:
        """Log of weight times density, (k, m)."""
        return Full.log_joint(X, means, factors * len(means), log_weights)


class Diagonal(_Linear):
    """A variance for each component and column; factors (k, d) are standard deviations."""

    def __init__(self, X: np.ndarray, floor: np.ndarray, k: int) -> None:
        super().__init__(X, floor, k, terms=np.concatenate([X, X * X], axis=1))
        self._largest = np.zeros_like(self.means)

    def maximise(self, R: np.ndarray, counts: np.ndarray, running: np.ndarray) -> None:
        """Learn means and factors."""
        d = self.means.shape[2]
        sums = self._summed(R, running)
        self._largest[running] = np.maximum(self._largest[running], sums[..., d:])
        if not (sums[..., d:] * LOSS >= self._largest[running]).all():
            sums = self._summed(R, running, anew=True)
            self._largest[running] = sums[..., d:]
        moments = sums / counts[..., None]
        means = moments[..., :d]
        variances = np.maximum(moments[..., d:] - means**2, 0) + self.floor[running][:, None]
        if not (variances > 0).all():
            raise ValueError(SINGULAR)
        self.means[running] = means
        for f, variance in zip(running, variances, strict=True):
            self.factors[f] = np.sqrt(variance)
        self._slopes[running] = np.concatenate([means / variances, -0.5 / variances], axis=2)
        self._offsets[running] = -0.5 * (np.log(variances) + means**2 / variances).sum(axis=2)

    @staticmethod
    def log_joint(X: np.ndarray, means: np.ndarray, factors: Any, log_weights: np.ndarray) -> np.ndarray:
        """Log of weight times density, (k, m)."""
        squared = [squared_lengths((X - mean) / factor) for mean, factor in zip(means, factors, strict=True)]
        joint: np.ndarray = (log_weights - np.log(factors).sum(axis=1))[:, None] - 0.5 * np.stack(squared)
        return joint
