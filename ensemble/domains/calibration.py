"""Log odds that hold: those of held-out clips of both domains are taken as two Gaussians."""

from dataclasses import dataclass

import numpy as np

from ensemble.domains.standardisation import SPREAD_FLOOR
from ensemble.domains.stored import check

PRIOR_CLIPS = 3
"""Weight of the variance of both domains in that of one, in clips."""

MOST_CERTAIN = 30.0
"""Largest log odds."""


@dataclass(frozen=True)
class Calibration:
    """Means and variances of the log odds of held-out source and target clips.

    Target clips are few and vary more, so a clip far from the source clips is sooner a target clip than by the middle
    between the means. Odds beyond the turning point of the ratio of the two Gaussians stay at its value. All are 0
    where target clips do not have the higher log odds.
    """

    source_mean: float = 0.0
    target_mean: float = 0.0
    source_variance: float = 1.0
    target_variance: float = 1.0

    @classmethod
    def of(cls, odds: np.ndarray, target: np.ndarray) -> "Calibration":
        """From log odds (n,) of held-out bank clips; target (n,) is a mask."""
        sides = [odds[target == is_target] for is_target in (False, True)]
        if not all(len(side) for side in sides):
            return cls()
        low, high = (float(side.mean()) for side in sides)
        if high <= low:
            return cls()
        floor = SPREAD_FLOOR * (high - low) ** 2
        shared = float(np.mean([side.var() for side in sides]))
        return cls(low, high, *(max(_variance(side, shared), floor) for side in sides))

    def applied(self, odds: np.ndarray) -> np.ndarray:
        """Calibrated log odds (m,) of log odds (m,)."""
        low, high, of_source, of_target = self.numbers()
        if high <= low:
            return np.zeros(len(odds))
        curvature = 1 / of_source - 1 / of_target
        if curvature:
            turning = (low / of_source - high / of_target) / curvature
            odds = np.maximum(odds, turning) if curvature > 0 else np.minimum(odds, turning)
        ratio = np.square(odds - low) / of_source - np.square(odds - high) / of_target + np.log(of_source / of_target)
        return np.asarray(np.clip(ratio / 2, -MOST_CERTAIN, MOST_CERTAIN))

    def numbers(self) -> tuple[float, float, float, float]:
        """The four numbers in the order in which they are stored."""
        return self.source_mean, self.target_mean, self.source_variance, self.target_variance

    @classmethod
    def from_numbers(cls, numbers: np.ndarray) -> "Calibration":
        """From four finite numbers; ValueError for a variance that is not positive."""
        calibration = cls(*numbers.tolist())
        check(min(calibration.source_variance, calibration.target_variance) > 0, "positive variances of log odds")
        return calibration


def _variance(side: np.ndarray, shared: float) -> float:
    """Variance for a new clip of a domain, drawn towards that of both domains where there are few clips."""
    n = len(side)
    return (n * float(side.var()) + PRIOR_CLIPS * shared) / (n + PRIOR_CLIPS) * (1 + 1 / n)
