"""Rows that are exchangeable by construction, for scripts/bench_honesty.py: training clips and new normal clips alike.

Every maker draws rows (n, d) of one distribution with the domain and the group of each. New clips are further draws of
the same distribution, so a stated false-alarm rate has to hold for them, whatever the detector.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RANK, CLUSTERS, TARGET_SHARE = 5, 4, 0.1


class Rows(NamedTuple):
    """Rows (n, d) with domains and groups (n,)."""

    X: np.ndarray
    domain: np.ndarray
    group: np.ndarray

    def part(self, rows: slice | np.ndarray) -> "Rows":
        """Some of the rows."""
        return Rows(*(column[rows] for column in self))


def gaussian(rng: np.random.Generator, n: int, d: int) -> Rows:
    """A Gaussian of low rank, with noise in every dimension, away from the origin."""
    return _plain(10 + _low_rank(rng, d, rng.normal(size=(n, RANK))) + rng.normal(size=(n, d)))


def heavy(rng: np.random.Generator, n: int, d: int) -> Rows:
    """The same with heavy tails: every row is scaled by a factor of its own, as Student's t with 3 degrees has."""
    scale = np.sqrt(3 / rng.chisquare(3, size=(n, 1)))
    return _plain(10 + scale * (_low_rank(rng, d, rng.normal(size=(n, RANK))) + rng.normal(size=(n, d))))


def clusters(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Four clusters of different size and spread; the group of a row is its cluster."""
    centres = 3 * rng.normal(size=(CLUSTERS, d))
    which = rng.choice(CLUSTERS, size=n, p=[0.4, 0.3, 0.2, 0.1])
    X = 10 + centres[which] + (0.5 + which[:, None]) * rng.normal(size=(n, d))
    return Rows(X, np.full(n, "source"), np.array(["a", "b", "c", "d"])[which])


def domains(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Nine source rows for each target row, which lie elsewhere and scatter more."""
    target = rng.random(n) < TARGET_SHARE
    X = 10 + _low_rank(rng, d, rng.normal(size=(n, RANK))) + rng.normal(size=(n, d))
    X += np.where(target[:, None], 2 * rng.normal(size=d) + 0.7 * rng.normal(size=(n, d)), 0.0)
    return Rows(X, np.where(target, "target", "source"), np.full(n, ""))


def logits(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Logits of a classifier of d classes whose first class is right."""
    X = 0.5 * gaussian(rng, n, d).X
    X[:, 0] += 4
    return _plain(X)


def residuals(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Residuals of a reconstruction, around 0, in two domains."""
    rows = domains(rng, n, d)
    return rows._replace(X=rows.X - 10)


def days(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Clips of days, each with an offset of its own; the group of a row is its day, which has six rows."""
    day = np.arange(n) // 6
    X = 10 + 0.7 * rng.normal(size=(n, d))[day] + rng.normal(size=(n, d))
    return Rows(X, np.full(n, "source"), day.astype(str))


ROWS: dict[str, Callable[[np.random.Generator, int, int], Rows]] = {
    "gaussian": gaussian,
    "heavy": heavy,
    "clusters": clusters,
    "domains": domains,
    "logits": logits,
    "residuals": residuals,
    "days": days,
}


def _low_rank(rng: np.random.Generator, d: int, factors: np.ndarray) -> np.ndarray:
    return 2 * factors @ rng.normal(size=(RANK, d))


def _plain(X: np.ndarray) -> Rows:
    return Rows(X, np.full(len(X), "source"), np.full(len(X), ""))
