"""EM steps of a Gaussian mixture with a covariance matrix for each component.

They give the result of the plain formulas, to rounding, with less to compute. Rows X (n, d) are float64, `floor` (f, d)
is added to the variances, responsibilities R are (f, k, n) for f fits of k components to n rows, all zero where a fit
leaves a row out, and densities lack their powers of 2 pi.
"""

import copy
from typing import Any

import numpy as np

NEGLIGIBLE = 40.0
"""Nats below a row's best component at which a component's share, 4e-18, is lost to rounding anyway."""

SHORT = 32
"""In fewer dimensions bounds cost as much as what they save."""

LOSS = 100.0
"""A sum that is updated, not summed anew, may shrink by this much: two digits are lost to rounding."""

SINGULAR = "a component's covariance is singular; use fewer components, a larger reg_covar, or scale the data"


class Full:
    """A matrix for each component, one fit; its factor is the upper triangle W with WW' = the inverse covariance.

    Most rows of many dimensions belong to one component alone. Such a row takes part in one covariance, which need not
    be summed again while it stays, and its density is not computed at all: float32 distances with a bound of their
    error show that every other component is negligible, and the sum of its component's distances is known already.
    Covariances are summed in float64: summed in float32 they moved log densities of standardised MIMII features, 136
    dimensions, by 0.001 to 0.05 nats, and by millions where a component had fewer rows than dimensions.
    """

    def __init__(self, X: np.ndarray, floor: np.ndarray, k: int) -> None:
        self.X, self.floor = X, floor[0]
        self.means = np.zeros((1, k, X.shape[1]))
        self.factors: list[list[Any]] = [[None] * k]
        self._R, self._counts = np.zeros((k, len(X))), np.zeros(k)
        self._origins, self._largest = np.zeros((2, k, X.shape[1]))
        self._scatters: list[Any] = [None] * k
        self._spreads = np.zeros(k)
        deviation = np.sqrt(np.einsum("ij,ij->j", X, X) / len(X))
        self._units = np.where(deviation > 0, deviation, 1.0)
        self._single = (X / self._units).astype(np.float32)
        self._lengths = np.sqrt(squared_lengths(self._single))

    def again(self, floor: np.ndarray) -> "Full":
        """Another fit to the same rows, with its own `floor` (d,), which takes over the sums of this one."""
        other = copy.copy(self)
        other.floor, other.factors, other._scatters = floor, [[None] * len(self._R)], list(self._scatters)
        other.means, other._spreads = self.means.copy(), self._spreads.copy()
        other._origins, other._largest = self._origins.copy(), self._largest.copy()
        return other

    def maximise(self, R: np.ndarray, counts: np.ndarray, running: np.ndarray) -> None:
        """Learn means and factors."""
        for k, (share, count) in enumerate(zip(R[0], counts[0], strict=True)):
            if self.factors[0][k] is not None and (share == self._R[k]).all():
                continue
            scatter = self._updated(k, share, count)
            factor = None if scatter is None else whitening(scatter / count, self.floor)
            if factor is None:
                factor = whitening(self._summed_anew(k, share, count) / count, self.floor)
            if factor is None:
                raise ValueError(SINGULAR)
            self.factors[0][k] = factor
            self._spreads[k] = count * (len(factor) - self.floor @ squared_lengths(factor))
        self._R, self._counts = R[0], counts[0]

    def _summed_anew(self, k: int, share: np.ndarray, count: float) -> np.ndarray:
        """Scatter (d, d) of a component about its mean."""
        rows = np.flatnonzero(share)
        offsets = self.X[rows]
        self.means[0, k] = self._origins[k] = share[rows] @ offsets / count
        offsets -= self._origins[k]
        offsets *= np.sqrt(share[rows])[:, None]
        scatter: np.ndarray = offsets.T @ offsets
        self._scatters[k], self._largest[k] = scatter, scatter.diagonal()
        return scatter

    def _updated(self, k: int, share: np.ndarray, count: float) -> np.ndarray | None:
        """The same from the rows whose share changed; None where these are many, or digits would be lost."""
        change = share - self._R[k]
        rows = np.flatnonzero(change)
        if self._scatters[k] is None or 2 * len(rows) > np.count_nonzero(share):
            return None
        change, offsets = change[rows], self.X[rows] - self._origins[k]
        shift = (self._counts[k] * (self.means[0, k] - self._origins[k]) + change @ offsets) / count
        self.means[0, k] = self._origins[k] + shift
        offsets *= np.sqrt(np.abs(change))[:, None]
        scatter: np.ndarray = self._scatters[k].copy()
        for sign in (1, -1):
            some = offsets[sign * change > 0]
            if len(some):
                scatter += sign * (some.T @ some)
        self._scatters[k] = scatter
        self._largest[k] = np.maximum(self._largest[k], scatter.diagonal())
        scatter = scatter - np.outer(count * shift, shift)
        return scatter if (scatter.diagonal() * LOSS >= self._largest[k]).all() else None

    def expect(self, log_weights: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Summed log density of the rows (r,), and the new responsibilities (r, k, n)."""
        (means,), (factors,), (log_weights,) = self.means, self.factors, log_weights
        k, n = self._R.shape
        scales = log_weights + log_scales(factors)
        owner, most = self._R.argmax(axis=0), self._R.max(axis=0)
        sole = (most == 1) & (self.X.shape[1] >= SHORT)
        best_other = np.full(n, -np.inf)
        for j in range(k):
            rows = np.flatnonzero(sole & (owner != j))
            nearest = self._distances(rows, j, -1)
            best_other[rows] = np.maximum(best_other[rows], scales[j] - 0.5 * nearest**2)
        own = (scales - 0.5 * self._counts)[owner]  # no row is further from its own mean than the root of the count
        close = sole & ~(best_other < own - NEGLIGIBLE)
        for j in range(k):
            rows = np.flatnonzero(close & (owner == j))
            own[rows] = np.maximum(own[rows], scales[j] - 0.5 * self._distances(rows, j, 1) ** 2)
        settled = sole & (best_other < own - NEGLIGIBLE)
        rows = np.flatnonzero(~settled & (most > 0))
        joint = self.log_joint(self.X[rows], means, factors, log_weights)
        total, shares = log_sum(joint)
        spread = self._spreads.sum() - 2 * (self._R[:, rows] * (scales[:, None] - joint)).sum()
        R = np.eye(k)[:, owner] * settled
        R[:, rows] = shares
        return (total.sum() + scales @ np.bincount(owner[settled], minlength=k) - 0.5 * spread)[None], R[None]

    def _distances(self, rows: np.ndarray, j: int, side: int) -> np.ndarray:
        """Bound of the distances of some rows to a component, from below (side -1) or from above (1)."""
        factor, mean = self.factors[0][j] * self._units[:, None], self.means[0, j] / self._units
        size = np.sqrt(np.square(factor).sum()) * (1 + self._lengths[rows] + np.sqrt(mean @ mean))
        if not size.max(initial=0) < 1e15:  # float32 could overflow
            return np.full(len(rows), np.inf if side > 0 else 0.0)
        offsets = self._single[rows] - mean.astype(np.float32)
        lengths = np.sqrt(squared_lengths(whitened(offsets, factor.astype(np.float32))), dtype=np.float64)
        rounding = (len(mean) + 8) * float(np.finfo(np.float32).eps)  # at most, of a sum of so many products
        bound: np.ndarray = np.maximum(lengths * (1 + side * rounding) + side * rounding * size, 0)
        return bound

    @staticmethod
    def log_joint(X: np.ndarray, means: np.ndarray, factors: Any, log_weights: np.ndarray) -> np.ndarray:
        """Log of weight times density, (k, m)."""
        squared = [squared_lengths(whitened(X - mean, factor)) for mean, factor in zip(means, factors, strict=True)]
        joint: np.ndarray = (log_weights + log_scales(factors))[:, None] - 0.5 * np.stack(squared)
        return joint


def whitening(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray | None:
    """Upper triangle W (d, d), WW' the inverse of covariance + floor, or None. Overwrites the covariance."""
    from scipy.linalg.lapack import dpotrf, dtrtri

    covariance.flat[:: len(covariance) + 1] += floor
    factor, failed = dpotrf(covariance.T, lower=0, clean=1, overwrite_a=1)
    inverse: np.ndarray | None = None if failed else dtrtri(factor, lower=0, overwrite_c=1)[0]
    return inverse


def whitened(offsets: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """`offsets` (m, d) times an upper triangle (d, d), in their precision. May overwrite the offsets."""
    from scipy.linalg.blas import dtrmm, strmm

    if not len(offsets):
        return offsets
    multiply = strmm if offsets.dtype == np.float32 else dtrmm
    product: np.ndarray = multiply(1.0, factor, offsets.T, lower=0, trans_a=1, overwrite_b=1).T
    return product


def log_scales(factors: list[np.ndarray]) -> np.ndarray:
    """Half the log determinant of each inverse covariance (k,)."""
    return np.array([np.log(factor.diagonal()).sum() for factor in factors])


def squared_lengths(X: np.ndarray) -> np.ndarray:
    """Squared length of each row."""
    lengths: np.ndarray = np.einsum("ij,ij->i", X, X)
    return lengths


def log_sum(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log of the sum over components (..., m), and the share of each (..., k, m): 0 where it is negligible."""
    most = joint.max(axis=-2, keepdims=True)
    shares = np.exp(joint - most)
    shares[joint < most - NEGLIGIBLE] = 0
    total = shares.sum(axis=-2, keepdims=True)
    return (most + np.log(total))[..., 0, :], shares / total
