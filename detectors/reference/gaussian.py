"""Mahalanobis distance of each row under the mean and covariance of the other rows, from sums over all rows.

Leaving out a row z (centred) changes the covariance by a multiple of z z', so one eigendecomposition serves all rows.
With the standard deviations of the other rows as units, a diagonal changes too; conjugate gradients solve for it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from detectors.covariance import LOSS, MAX_CONDITION, WEIGHTS
from detectors.shared import once

ROWS = 2048
"""Rows at a time."""

STEPS, PRECISION = 60, 1e-12
"""Most steps of the conjugate gradients, and the residual, relative to the row, at which they end."""


def distances_without(X: np.ndarray, covariance: str, *, standardize: bool) -> np.ndarray:
    """Squared distance (n,) of each row of X (n, d) by a fit to the n - 1 others; NaN where sums lose too many digits.

    covariance: a name in `covariance.WEIGHTS`. standardize: whether the fit scales columns by the standard deviations
    of the others; a constant column keeps its scale.
    """
    sums = once(_Sums.of, X, standardize=standardize)
    if not len(sums.values):
        return np.full(len(X), np.nan)
    parts = [_of_rows(sums, slice(start, start + ROWS), covariance, standardize) for start in range(0, len(X), ROWS)]
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Centred rows (n, d) in units of all of them, and what their products add up to.

    constant (d,): columns that hardly vary. second: mean of z z' (d, d). axes (d, r), values (r,): its eigenvectors and
    the eigenvalues that are not 0. squares, mixed: sums of z^2 z^2' and of z^2 z' (d, d).
    """

    Z: np.ndarray
    constant: np.ndarray
    second: np.ndarray
    axes: np.ndarray
    values: np.ndarray
    squares: np.ndarray
    mixed: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, standardize: bool) -> "_Sums":
        Z = np.array(X, dtype=np.float64, order="C")
        largest = np.abs(Z).max(axis=0)
        Z -= Z.mean(axis=0)
        deviation = Z.std(axis=0)
        constant = deviation <= 1e-6 * largest
        if standardize:
            Z /= np.where(constant, 1.0, deviation)
        n, d = Z.shape
        second, squared = Z.T @ Z / n, np.square(Z)
        wide = n < d
        values, axes = np.linalg.eigh(Z @ Z.T / n if wide else second)
        kept = values > max(values[-1], 0.0) / MAX_CONDITION
        values, axes = values[kept], axes[:, kept]
        if wide:
            axes = Z.T @ axes / np.sqrt(n * values)
        return cls(Z, constant, second, axes, values, squared.T @ squared, squared.T @ Z)

    @cached_property
    def variance(self) -> np.ndarray:
        """Of every column (d,)."""
        return self.second.diagonal().copy()


def _of_rows(sums: _Sums, rows: slice, covariance: str, standardize: bool) -> np.ndarray:
    """Distances of some of the rows."""
    Z, (n, d) = sums.Z[rows], sums.Z.shape
    left = n - 1
    more, less = n / left, n / left**2  # without row z, the mean of z z' is `more` times itself minus `less` z z'
    of_others = more * sums.variance - less * np.square(Z)
    sound = ~(of_others < sums.variance / LOSS).any(axis=1)
    units = np.ones(Z.shape)
    if standardize:
        units = np.where(sound[:, None] & ~sums.constant, of_others, 1.0)
    weight, size, precise = _weights(sums, Z, 1 / units, covariance)
    # The covariance, in the units of all rows: flat * identity + steep * second - part * z z' - diagonal.
    steep, part = (1 - weight) * more, (1 - weight) * less
    flat = weight * size * (more if standardize else 1.0)
    diagonal = (weight * size * less)[:, None] * np.square(Z) if standardize else np.zeros((len(Z), 1))
    eigenvalues = flat[:, None] + steep[:, None] * sums.values
    smallest = flat + steep * sums.values[0] if len(sums.values) == d else flat
    sound &= precise & (smallest * MAX_CONDITION > 100 * eigenvalues[:, -1])
    distance = np.full(len(Z), np.nan)
    if sound.any():
        inverse = _Inverse(sums.axes, 1 / eigenvalues[sound], 1 / flat[sound] if len(sums.values) < d else None)
        solved, converged = _solved(inverse, Z[sound], diagonal[sound])
        along = (Z[sound] * solved).sum(axis=1)
        remaining = 1 - part[sound] * along
        precise = converged & (remaining > 1 / LOSS)
        distance[sound] = np.where(precise, more**2 * along / np.where(precise, remaining, 1.0), np.nan)
    return np.asarray(distance * (left - 1) / left) if covariance == "empirical" else distance


def _weights(
    sums: _Sums, Z: np.ndarray, slopes: np.ndarray, covariance: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of the identity and mean variance (m,) without each of the rows Z (m, d), and where these are precise.

    slopes (m, d): one over the squared unit of each column.
    """
    n, d = sums.Z.shape
    left = n - 1
    more, less = n / left, n / left**2
    scaled = slopes * Z
    own = (scaled * Z).sum(axis=1)
    trace = more * slopes @ sums.variance - less * own
    square = more**2 * ((slopes @ np.square(sums.second)) * slopes).sum(axis=1)
    square_left = square - 2 * more * less * ((scaled @ sums.second) * scaled).sum(axis=1) + less**2 * own**2
    # |z_j - m|^4 summed over all rows j, with the mean m = -z / left of the others
    mean, length = -scaled / left, own / left**2
    fourth = ((slopes @ sums.squares) * slopes).sum(axis=1) - 4 * ((slopes @ sums.mixed) * mean).sum(axis=1)
    fourth += 4 * n * ((mean @ sums.second) * mean).sum(axis=1)
    fourth += 2 * n * length * (slopes @ sums.variance) + n * length**2
    fourth_left = fourth - (own * more**2) ** 2
    precise = (fourth_left * LOSS > fourth) & (square_left * LOSS > square)
    return WEIGHTS[covariance](left, d, square_left, trace, fourth_left / left), trace / d, precise


@dataclass(frozen=True, eq=False)
class _Inverse:
    """Inverses of matrices with the same eigenvectors `axes` (d, r).

    values (m, r): inverse eigenvalues; outside (m,): those of all other directions, None where there are none.
    """

    axes: np.ndarray
    values: np.ndarray
    outside: np.ndarray | None

    def __call__(self, V: np.ndarray) -> np.ndarray:
        """Inverse i times row i of V (m, d)."""
        inside = V @ self.axes
        if self.outside is None:
            return np.asarray((inside * self.values) @ self.axes.T)
        outside = self.outside[:, None]
        return np.asarray(V * outside + (inside * (self.values - outside)) @ self.axes.T)


def _solved(inverse: _Inverse, Z: np.ndarray, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solutions y (m, d) of (P - diagonal) y = z for each row z, given the inverse of P, and which are precise.

    Conjugate gradients with P as preconditioner; without a diagonal, the first step is exact.
    """
    y = inverse(Z)
    rest = diagonal * y
    step = inverse(rest)
    direction, image = step, rest  # image: P times direction
    norm = (rest * step).sum(axis=1)
    limit = PRECISION**2 * (Z * y).sum(axis=1)
    for _ in range(STEPS):
        if (norm <= limit).all():
            break
        product = image - diagonal * direction
        curvature = (direction * product).sum(axis=1)
        length = np.divide(norm, curvature, out=np.zeros_like(norm), where=curvature > 0)[:, None]
        y = y + length * direction
        rest = rest - length * product
        step = inverse(rest)
        before, norm = norm, (rest * step).sum(axis=1)
        share = np.divide(norm, before, out=np.zeros_like(norm), where=before > 0)[:, None]
        direction, image = step + share * direction, rest + share * image
    return y, norm <= limit
