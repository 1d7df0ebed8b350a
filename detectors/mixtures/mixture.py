"""Gaussian mixtures by expectation maximisation (EM), from a given start to the optimum that it leads to.

Peak memory of a fit is 3 to 5 times that of the rows in float64, and 3 k + 3 matrices (d, d). Fits that leave rows out
at most double it, but for tied covariances, 2 f matrices more, and some eight arrays (f, k, n) unless they are full.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.mixtures.full import Full, log_sum, squared_lengths, whitening, without
from detectors.mixtures.linear import Diagonal, Tied

STEPS: dict[str, Any] = {"full": Full, "tied": Tied, "diag": Diagonal}

TOLERANCE, MAX_ITER = 1e-3, 100
"""scikit-learn's. With 1e-6 there are 1.4 to 2 times as many steps, and AUCs differ by less than 0.1 points."""

LLOYD_STEPS = 10
"""k-means of a fit that leaves rows out begins next to where it ends."""


@dataclass(frozen=True, eq=False)
class Span:
    """Coordinates of rows: centred, and rotated into the rows' own span where they are few for their dimensions.

    Outside of the span every covariance is `floor` times the identity.
    """

    centre: np.ndarray
    basis: np.ndarray | None
    floor: float

    @classmethod
    def of(cls, X: np.ndarray, *, floor: float, rotate: bool) -> "Span":
        """Span of X (n, d); without `rotate` the axes stay."""
        centre = X.mean(axis=0)
        few = rotate and floor > 0 and 2 * len(X) <= X.shape[1]
        return cls(centre, np.linalg.qr((X - centre).T)[0] if few else None, floor)

    def inside(self, X: np.ndarray) -> np.ndarray:
        """X (m, d) in the coordinates of the span."""
        offsets = X - self.centre
        inside: np.ndarray = offsets if self.basis is None else offsets @ self.basis
        return inside

    def outside(self, X: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Log density of what lies outside, and of all powers of 2 pi, (m,)."""
        constant = -0.5 * X.shape[1] * np.log(2 * np.pi)
        if self.basis is None:
            return np.full(len(X), constant)
        rest = X - self.centre - inside @ self.basis.T
        more = X.shape[1] - inside.shape[1]
        density: np.ndarray = constant - 0.5 * (squared_lengths(rest) / self.floor + more * np.log(self.floor))
        return density


@dataclass(frozen=True, eq=False)
class Mixture:
    """A fitted mixture; `lower_bound` is the mean log likelihood before the last step, as scikit-learn's."""

    covariance_type: str
    span: Span
    weights: np.ndarray
    inner_means: np.ndarray
    factors: Any
    lower_bound: float
    iterations: int
    converged: bool

    @classmethod
    def of(cls, fit: tuple[Any, ...], covariance_type: str, span: Span, outside: np.ndarray) -> "Mixture":
        """From the parameters of a fit inside of the span, and the log density of its rows outside, (n,)."""
        weights, means, factors, bound, iterations, converged = fit
        bound += float(outside.mean())
        return cls(covariance_type, span, weights, means, factors, bound, iterations, converged)

    @property
    def means(self) -> np.ndarray:
        """Means of the components, (k, d)."""
        offsets = self.inner_means if self.span.basis is None else self.inner_means @ self.span.basis.T
        means: np.ndarray = self.span.centre + offsets
        return means

    def log_densities(self, X: np.ndarray) -> np.ndarray:
        """log N(x | k) without the mixture's weights, for each row and component, (m, k)."""
        inside = self.span.inside(X)
        log_joint = STEPS[self.covariance_type].log_joint
        densities: np.ndarray = log_joint(inside, self.inner_means, self.factors, np.zeros(len(self.weights))).T
        densities += self.span.outside(X, inside)[:, None]
        return densities

    def score_samples(self, X: np.ndarray) -> np.ndarray:
        """Log of the mixture's density at each row, (m,)."""
        return log_sum(self.log_densities(X).T + np.log(self.weights)[:, None])[0]


def fit_mixture(
    X: np.ndarray,
    label: np.ndarray,
    *,
    covariance_type: str = "full",
    floor: float = 1e-6,
    from_shared: bool = False,
    tol: float = TOLERANCE,
    max_iter: int = MAX_ITER,
) -> Mixture:
    """Mixture of the rows X (n, d), float64, that EM reaches from the clusters `label` (n,), each with a row or more.

    The start is a component for each cluster, with a covariance of its own or, `from_shared`, one for all. It stops
    once the mean log likelihood changes by less than `tol`, or after `max_iter` steps. `floor` is added to every
    variance. ValueError where a covariance stays singular.
    """
    k = int(label.max()) + 1
    span = Span.of(X, floor=floor, rotate=covariance_type != "diag")
    inside = span.inside(X)
    steps = STEPS[covariance_type](inside, np.full((1, inside.shape[1]), floor), k)
    total, R = np.inf, np.eye(k)[:, label]
    if from_shared:
        total, R = _shared(inside, label, diagonal=covariance_type == "diag", floor=floor)
    done = 1 if from_shared else 0
    (fit,) = _iterate(steps, R[None], np.full(1, total), done=done, tol=tol, max_iter=max_iter)
    return Mixture.of(fit, covariance_type, span, span.outside(X, inside))


def fit_without(
    X: np.ndarray, label: np.ndarray, held_out: np.ndarray, units: np.ndarray, *, covariance_type: str, floor: float
) -> Iterator[Mixture | None]:
    """Mixtures of X without the rows held out (f, n), each with its `floor` in units (f, d) of its own.

    Each starts from the clusters `label` (n,) of all rows after k-means has gone on without the rows held out, in these
    units; None where a cluster lost its last row. The fits share their sums over rows and, unless covariances are full,
    their products with them.
    """
    k = int(label.max()) + 1
    span = Span.of(X, floor=floor, rotate=covariance_type != "diag" and bool(np.all(units == 1)))
    inside = span.inside(X)
    outside, units = span.outside(X, inside), units[:, : inside.shape[1]]
    floors = floor * np.square(units)
    R = _clusters_without(inside, np.eye(k)[:, label], held_out, units)
    whole = np.any(R, axis=2).all(axis=1)
    fits: Iterator[tuple[Any, ...]] = iter(())
    if covariance_type == "full":
        fits = _full_fits(inside, R[whole], held_out[whole], floors[whole])
    elif whole.any():
        steps = STEPS[covariance_type](inside, floors[whole], k)
        fits = iter(_iterate(steps, R[whole], np.full(np.count_nonzero(whole), np.inf)))
    for f in range(len(held_out)):
        yield Mixture.of(next(fits), covariance_type, span, outside[~held_out[f]]) if whole[f] else None


def _full_fits(X: np.ndarray, R: np.ndarray, held_out: np.ndarray, floors: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Parameters of each fit to the rows X that it does not hold out."""
    moment = X.T @ X
    for members, out, floor in zip(R, held_out, floors, strict=True):
        steps = Full(X[~out], floor[None], len(members), without(moment, X[out]))
        yield from _iterate(steps, members[None, :, ~out], np.full(1, np.inf))


def _iterate(
    steps: Any,
    R: np.ndarray,
    totals: np.ndarray,
    *,
    done: int = 0,
    tol: float = TOLERANCE,
    max_iter: int = MAX_ITER,
) -> list[tuple[Any, ...]]:
    """Parameters of every fit, from responsibilities R (f, k, n) after `done` steps, and summed log densities (f,)."""
    sizes, running = R.sum(axis=(1, 2)), np.arange(len(R))
    weights = np.zeros(R.shape[:2])
    iterations, converged = np.full(len(R), done), np.zeros(len(R), dtype=bool)

    def maximise() -> None:
        counts = R.sum(axis=2) + 10 * np.finfo(np.float64).eps
        weights[running] = counts / counts.sum(axis=1, keepdims=True)
        steps.maximise(R, counts, running)

    maximise()
    for iteration in range(done + 1, max_iter + 1):
        total, after = steps.expect(np.log(weights[running]), running)
        close = np.abs(total - totals[running]) < tol * sizes[running]
        same = (after == R).all(axis=(1, 2))
        totals[running], R = total, after
        maximise()
        last = iteration == max_iter
        iterations[running] = iteration + (same & ~close & (not last))
        converged[running] = close | (same & (not last))
        running, R = running[~converged[running]], R[~converged[running]]
        if not len(running):
            break
    parameters = weights, steps.means, steps.factors, (totals / sizes).tolist(), iterations.tolist(), converged.tolist()
    return list(zip(*parameters, strict=True))


def _clusters_without(X: np.ndarray, member: np.ndarray, held_out: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Members (f, k, n) of the clusters after up to `LLOYD_STEPS` of k-means in each of the units (f, d)."""
    member = member * ~held_out[:, None]
    for _ in range(LLOYD_STEPS):
        counts = member.sum(axis=2, keepdims=True)
        fits, k, n = member.shape
        centres = (member.reshape(-1, n) @ X).reshape(fits, k, -1) / np.maximum(counts, 1)
        slopes = centres / np.square(units)[:, None]
        closeness = (slopes.reshape(fits * k, -1) @ X.T).reshape(fits, k, n)
        closeness -= np.where(counts > 0, 0.5 * (slopes * centres).sum(axis=2, keepdims=True), np.inf)
        before, nearest = member, closeness.argmax(axis=1)
        member = (np.arange(k)[:, None] == nearest[:, None]) * ~held_out[:, None] * 1.0
        if (member == before).all():
            break
    return member


def _shared(X: np.ndarray, label: np.ndarray, *, diagonal: bool, floor: float) -> tuple[float, np.ndarray]:
    """Summed log density and responsibilities under Gaussians about the clusters' centres with one covariance."""
    counts = np.bincount(label)
    centres = np.eye(len(counts))[:, label] @ X / counts[:, None]
    offsets = X - centres[label]
    if diagonal:
        variance = np.maximum(np.square(offsets).mean(axis=0) + floor, np.finfo(np.float64).tiny)
        factors: Any = np.sqrt(variance)[None].repeat(len(counts), axis=0)
    else:
        factors = [whitening(offsets.T @ offsets / len(X), np.full(X.shape[1], floor))] * len(counts)
    log_joint = (Diagonal if diagonal else Full).log_joint
    total, R = log_sum(log_joint(X, centres, factors, np.log(counts / len(X))))
    return float(total.sum()), R
