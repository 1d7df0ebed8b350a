"""The interval of a share, such as an AUC, from its estimate and the effective number of clips behind it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

MISRANKED = 0.25
"""Clips that rank wrongly, added to those of the data in the effective number of clips; chosen by simulation."""


@dataclass(frozen=True)
class Share:
    """A value between `lowest` and 1, and how uncertain it is.

    bias: how much too large the value is expected to be.
    variance: of the value, measured from the clips; 0 if none of them ranks wrongly.
    one_clip: variance of the value that a single clip causes if it ranks wrongly.
    clips: effective number of clips if none ranks wrongly.
    """

    value: float
    bias: float
    variance: float
    one_clip: float
    clips: float
    lowest: float = 0.0

    @property
    def effective_clips(self) -> float:
        """A share of so many independent clips has the variance of this one."""
        rough = MISRANKED * self.one_clip
        return ((self.value - self.lowest) * (1 - self.value) + rough * self.clips) / (self.variance + rough)

    def interval(self, level: float) -> tuple[float, float]:
        """Jeffreys' interval (Brown et al. 2001) of a binomial share of the effective clips, around value minus bias.

        It holds the value, and it has a length even where the value is 1.
        """
        from scipy.special import betaincinv

        check_level(level)
        unit, n = 1 - self.lowest, self.effective_clips
        hits = n * float(np.clip((self.value - self.bias - self.lowest) / unit, 0, 1))
        tails = np.array([1 - level, 1 + level]) / 2
        low, high = self.lowest + unit * betaincinv(hits + 0.5, n - hits + 0.5, tails)
        return min(float(low), self.value), max(float(high), self.value)


def normal_quantile(level: float) -> float:
    """Half width, in standard deviations, of the middle `level` of a normal distribution."""
    check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)


def check_level(level: float) -> None:
    """ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
