"""Pooling over time that emphasises frames: those that deviate from the mean (RDP), or large values (GeM)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-12
"""Lower limit of lengths and ranges, which avoids a division by zero and infinite gradients."""


def rdp(x: Tensor, gamma: float) -> Tensor:
    """Pooling by relative deviation: frames x (..., time, dim) to (..., dim) (arXiv 2603.04605, 2026; gamma 4 there).

    r is the Euclidean distance of a frame to the mean over time, relative to the largest one. The weights are
    proportional to (1 + r)^gamma; they are equal where all frames are, and for gamma 0.
    """
    centre = x.mean(dim=-2, keepdim=True)
    length = (x - centre).square().sum(dim=-1).clamp(min=TINY**2).sqrt()
    weights = (1 + length / length.amax(dim=-1, keepdim=True)).pow(gamma)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights[..., None, :] @ x).squeeze(-2)


def gem(x: Tensor, p: float) -> Tensor:
    """Generalised mean (mean x^p)^(1/p) of each dimension: frames x (..., time, dim) to (..., dim).

    p of 1 is the mean; large p approach the maximum. Powers need values of at least 0: where a dimension of a clip has
    negative ones, its values are measured from its smallest one, which is added again.
    """
    lowest = x.amin(dim=-2, keepdim=True).clamp(max=0)
    above = x - lowest
    largest = above.amax(dim=-2, keepdim=True).clamp(min=TINY)  # powers of values above 1 would overflow
    mean = _power(above / largest, p).mean(dim=-2, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    return (mean.pow(1 / p) * largest + lowest).squeeze(-2)


def _power(x: Tensor, p: float) -> Tensor:
    """x^p; of small whole exponents by products, which are several times as fast."""
    if p not in (2, 3, 4):
        return x.pow(p)
    square = x * x
    return {2: square, 3: square * x, 4: square * square}[int(p)]


@dataclass(frozen=True)
class Emphasis:
    """A pooling of frames with one option: its name, default and least value."""

    pool: Callable[[Tensor, float], Tensor]
    option: str
    default: float
    least: float

    def check(self, value: float, where: str) -> float:
        """Return the value of the option; ValueError begins with `where` unless it is finite and in range."""
        if not self.least <= value < math.inf:
            raise ValueError(f"{where}: expected {self.option} of at least {self.least:g}, and finite")
        return value


EMPHASES = {"rdp": Emphasis(rdp, "gamma", 4.0, 0.0), "gem": Emphasis(gem, "p", 3.0, 1.0)}
"""By name."""
