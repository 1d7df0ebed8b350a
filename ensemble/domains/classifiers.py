"""Classifiers that tell source from target clips: log odds with equal priors, from few target clips.

A linear discriminant names domains that differ in the mean, also where clips vary much. The nearest clips name domains
of several clusters, such as kinds of background noise. What one has learned does not depend on the clips it judges.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from detectors.covariance import Moments, ledoit_wolf
from ensemble.domains.standardisation import SPREAD_FLOOR, Standardisation
from ensemble.domains.stored import FLOAT, ROWS, Stored, check

NEIGHBOURS = 2
MOST_CLIPS = 500
"""Clips of a domain that others are compared with, evenly spaced, so that the time grows with the number of clips."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Bank clips: kept columns of their rows (n, k) as the store has them, numbers of sections and target mask (n,)."""

    scale: Standardisation
    rows: np.ndarray
    number: np.ndarray
    target: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, section: np.ndarray, target: np.ndarray) -> "Bank":
        """Rows (n, d) with what standardises them."""
        scale = Standardisation.of(X, section)
        return cls(scale, X[:, scale.columns], scale.numbers(section), target)

    def part(self, rows: np.ndarray) -> "Bank":
        """Some of the clips."""
        return Bank(self.scale, self.rows[rows], self.number[rows], self.target[rows])

    def standardised(self) -> np.ndarray:
        """Standardised rows (n, k)."""
        return self.scale.applied(self.rows, self.number)


class Classifier(Protocol):
    """What was learned from a bank."""

    @classmethod
    def fit(cls, bank: Bank) -> Self:
        """From bank clips of both domains."""
        ...

    def log_odds(self, judged: np.ndarray) -> np.ndarray:
        """Log odds (m,) of the target domain, from standardised rows (m, k)."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored."""
        ...

    @classmethod
    def from_arrays(cls, stored: Stored, scale: Standardisation) -> Self:
        """From stored arrays; ValueError for what does not fit."""
        ...


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Two Gaussians of one shrunk covariance: a direction (k,) and the value in the middle of the domains."""

    direction: np.ndarray
    middle: np.ndarray

    @classmethod
    def fit(cls, bank: Bank) -> "Discriminant":
        """By the means of both domains and the covariance about them."""
        Z, target = bank.standardised(), bank.target
        source_mean, target_mean = Z[~target].mean(axis=0), Z[target].mean(axis=0)
        residuals = Z - np.where(target[:, None], target_mean, source_mean)
        if not residuals.any():
            return cls(np.zeros(Z.shape[1]), np.zeros(()))
        covariance = ledoit_wolf(Moments.of(residuals))
        size = np.trace(covariance) / len(covariance)
        direction = np.linalg.solve(covariance + 1e-9 * size * np.eye(len(covariance)), target_mean - source_mean)
        return cls(direction, np.array((source_mean + target_mean) / 2 @ direction))

    def log_odds(self, judged: np.ndarray) -> np.ndarray:
        """Log odds (m,) from standardised rows (m, k)."""
        odds: np.ndarray = judged @ self.direction - self.middle
        return odds

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored."""
        return {"direction": self.direction, "middle": self.middle}

    @classmethod
    def from_arrays(cls, stored: Stored, scale: Standardisation) -> "Discriminant":
        """From stored arrays; ValueError for what does not fit."""
        return cls(stored.take("direction", FLOAT, (len(scale.columns),)), stored.take("middle", FLOAT, ()))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The ratio of the mean squared distances to the nearest source and target clips of a bank.

    The rows are kept as the store has them, because standardised rows take twice the memory.
    """

    bank: Bank

    @classmethod
    def fit(cls, bank: Bank) -> "Neighbours":
        """By at most MOST_CLIPS clips of each domain."""
        sides = [_spaced(np.flatnonzero(bank.target == is_target)) for is_target in (False, True)]
        return cls(bank.part(np.concatenate(sides)))

    def log_odds(self, judged: np.ndarray) -> np.ndarray:
        """Log odds (m,) from standardised rows (m, k)."""
        Z, target = self.bank.standardised(), self.bank.target
        floor = SPREAD_FLOOR * max(float(np.square(Z).sum(axis=1).mean()), np.finfo(np.float64).tiny / SPREAD_FLOOR)
        near_source, near_target = (_nearest(Z[target == is_target], judged) for is_target in (False, True))
        odds: np.ndarray = np.log((near_source + floor) / (near_target + floor))
        return odds

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored."""
        return {"rows": self.bank.rows, "number": self.bank.number, "target": self.bank.target}

    @classmethod
    def from_arrays(cls, stored: Stored, scale: Standardisation) -> "Neighbours":
        """From stored arrays; ValueError for what does not fit."""
        rows = stored.take("rows", ROWS, (None, len(scale.columns)))
        number, target = stored.take("number", ("int64",), (len(rows),)), stored.take("target", ("bool",), (len(rows),))
        in_range = not ((number < 0) | (number >= len(scale.sections))).any()
        check(in_range, f"numbers of sections from 0 to {len(scale.sections) - 1}")
        check(target.any() and not target.all(), "rows of both domains")
        return cls(Bank(scale, rows, number, target))


def _spaced(rows: np.ndarray) -> np.ndarray:
    """At most MOST_CLIPS of the rows, evenly spaced."""
    spaced: np.ndarray = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_CLIPS)).round().astype(int))]
    return spaced


def _nearest(bank: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Mean squared distance (m,) of rows to the nearest NEIGHBOURS of a bank."""
    squared = np.square(judged).sum(axis=1)[:, None] + np.square(bank).sum(axis=1) - 2 * judged @ bank.T
    k = min(NEIGHBOURS, len(bank))
    nearest: np.ndarray = np.maximum(np.partition(squared, k - 1, axis=1)[:, :k], 0).mean(axis=1)
    return nearest


CLASSIFIERS: dict[str, type[Classifier]] = {"discriminant": Discriminant, "neighbours": Neighbours}
