"""EM steps of a Gaussian mixture with a covariance matrix for each component.

They give the result of the plain formulas, to rounding, with less to compute. Rows X (n, d) are float64, `floor` (f, d)
is added to the variances, responsibilities R are (f, k, n) for f fits of k components to n rows, and densities lack
their powers of 2 pi.
"""

from typing import Any

import numpy as np

NEGLIGIBLE = 30.0
"""Nats below a row's best component at which a component's share, 1e-13, is lost to rounding anyway."""

LOSS = 100.0
"""A sum may shrink by this much when others are subtracted: two digits are lost to rounding."""

ROUNDING = 1e-7
"""Nats by which rounding may change a row's log odds; beyond, its density under every component is computed."""

EPSILON = float(np.finfo(np.float64).eps)

SINGULAR = "a component's covariance is singular; use fewer components, a larger reg_covar, or scale the data"


class Full:
    """A matrix for each component, one fit; its factor is the upper triangle W with WW' = the inverse covariance.

    A row's shares sum to 1, so the components' second moments sum to X'X, which a step does not change: the largest
    component gets what the others leave. Only the odds of the components decide the shares, so a step multiplies the
    rows by one matrix less than there are components. `moment` (d, d) is X'X where it is known.
    """

    def __init__(self, X: np.ndarray, floor: np.ndarray, k: int, moment: np.ndarray | None = None) -> None:
        self.X, self.floor = X, floor[0]
        self.means = np.zeros((1, k, X.shape[1]))
        self.factors: list[list[Any]] = [[None] * k]
        self._moment: np.ndarray = X.T @ X if moment is None else moment
        self._sum = X.sum(axis=0)
        self._R, self._largest = np.zeros((k, 0)), 0

    def maximise(self, R: np.ndarray, counts: np.ndarray, running: np.ndarray) -> None:
        """Learn means and factors."""
        (shares,), (counts,) = R, counts
        if np.array_equal(shares, self._R):
            return
        sums = shares @ self.X
        means = self.means[0] = sums / counts[:, None]
        *others, largest = np.argsort(counts).tolist()
        scatters = {j: self._scatter(shares[j], means[j]) for j in others}
        scatter = self._moment - sums.T @ means - sum(scatters.values())
        left, whole = scatter.diagonal(), self._moment.diagonal()
        kept = (left * LOSS >= whole).all() and (self.floor * counts[largest] > len(whole) * EPSILON * whole).all()
        scatters[largest] = scatter if kept else self._scatter(shares[largest], means[largest])
        for j, scatter in scatters.items():
            self.factors[0][j] = whitening(scatter / counts[j], self.floor)
        self._R, self._largest = shares, largest

    def _scatter(self, share: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Scatter (d, d) of a component about its mean."""
        rows = np.flatnonzero(share)
        offsets = self.X[rows]
        offsets -= mean
        offsets *= np.sqrt(share[rows])[:, None]
        scatter: np.ndarray = offsets.T @ offsets
        return scatter

    def expect(self, log_weights: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Summed log density of the rows (r,), and the new responsibilities (r, k, n)."""
        (means,), (factors,), (log_weights,) = self.means, self.factors, log_weights
        squares = self._moment.diagonal() / len(self.X)
        if not max(EPSILON * squared_lengths(factor) @ squares for factor in factors) < ROUNDING:
            total, R = log_sum(self.log_joint(self.X, means, factors, log_weights))
            return total.sum()[None], R[None]
        centres = [mean @ factor for mean, factor in zip(means, factors, strict=True)]
        constants = log_weights + log_scales(factors) - 0.5 * np.array([centre @ centre for centre in centres])
        slopes = np.array([factor @ centre for factor, centre in zip(factors, centres, strict=True)])
        halves = [half_inverse(factor) for factor in factors]
        base = self._largest
        odds = (slopes - slopes[base]) @ self.X.T + (constants - constants[base])[:, None]
        for j in range(len(means)):
            if j != base:
                odds[j] += np.einsum("ij,ij->i", whitened(self.X, halves[base] - halves[j]), self.X)
        total, R = log_sum(odds)
        of_base = len(self.X) * constants[base] + slopes[base] @ self._sum - np.vdot(halves[base], self._moment)
        return (total.sum() + of_base)[None], R[None]

    @staticmethod
    def log_joint(X: np.ndarray, means: np.ndarray, factors: Any, log_weights: np.ndarray) -> np.ndarray:
        """Log of weight times density, (k, m)."""
        squared = [squared_lengths(whitened(X - mean, factor)) for mean, factor in zip(means, factors, strict=True)]
        joint: np.ndarray = (log_weights + log_scales(factors))[:, None] - 0.5 * np.stack(squared)
        return joint


def whitening(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Upper triangle W (d, d), WW' the inverse of covariance + floor; ValueError where singular. Overwrites."""
    from scipy.linalg.lapack import dpotrf, dtrtri

    covariance.flat[:: len(covariance) + 1] += floor
    factor, failed = dpotrf(covariance.T, lower=0, clean=1, overwrite_a=1)
    if failed:
        raise ValueError(SINGULAR)
    inverse: np.ndarray = dtrtri(factor, lower=0, overwrite_c=1)[0]
    return inverse


def half_inverse(factor: np.ndarray) -> np.ndarray:
    """Upper triangle V with x'Vx = 0.5 x'WW'x for the factor W."""
    from scipy.linalg.lapack import dlauum

    half: np.ndarray = dlauum(factor, lower=0)[0]
    half.flat[:: len(half) + 1] *= 0.5
    return half


def without(whole: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Second moment (d, d) less that of some of its rows; None where digits are lost."""
    moment: np.ndarray = whole - rows.T @ rows
    return moment if (moment.diagonal() * LOSS >= whole.diagonal()).all() else None


def whitened(offsets: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """`offsets` (m, d) times an upper triangle (d, d)."""
    from scipy.linalg.blas import dtrmm

    product: np.ndarray = dtrmm(1.0, factor, offsets.T, lower=0, trans_a=1).T if len(offsets) else offsets
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
