"""`twfr`: time-weighted frequency-domain representation: log-mel with global weighted ranking pooling over time.

Guan et al., "Time-weighted frequency domain audio representation with GMM estimator for anomalous sound detection",
ICASSP 2023.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from embedders.spectrogram import sort_frames
from embedders.statistics.pooled import PooledLogMel

BLOCK = 1024
"""Frames per matrix product: some processors sum float32 terms one by one, and long sums then lose digits."""


def gwrp(ordered: Tensor, r: tuple[float, ...]) -> Tensor:
    """Global weighted ranking pooling: (..., frame) in ascending order to (..., len(r)), one value per decay.

    Weights from the largest value down are 1, r, r ** 2, ..., divided by their sum, so that clips of different length
    are comparable. r = 1 is the mean and r = 0 the maximum. r > 1 is not in the paper: the weights are those of 1 / r
    from the smallest value up, so that quiet frames count most, in which noise that comes and goes hides less.
    """
    weights = _rank_weights(r, ordered.shape[-1]).to(ordered)
    if len(weights) <= BLOCK:
        return ordered @ weights
    parts = zip(torch.split(ordered, BLOCK, dim=-1), torch.split(weights, BLOCK), strict=True)
    return torch.stack([values @ weight for values, weight in parts]).sum(dim=0)


@lru_cache(maxsize=16)
def _rank_weights(r: tuple[float, ...], n_frames: int) -> Tensor:
    """Weights of the frames in ascending order: float64 (frame, len(r)); 0 ** 0 = 1."""
    decay, rank = torch.tensor(r, dtype=torch.float64), torch.arange(n_frames)[:, None]
    weights = torch.where(decay > 1, decay.clamp(min=1) ** -rank, decay.clamp(max=1) ** rank.flip(0))
    weights /= weights.sum(dim=0)
    return torch.where(weights < 1e-30, 0.0, weights)  # for speed only: subnormal factors cost 10 x


@dataclass(frozen=True, kw_only=True)
class TWFR(PooledLogMel):
    """Embedder: GWRP of the log-mel in dB; one view per decay `r` of at least 0, named r1, r0.99, ... (see gwrp).

    The defaults leave out r = 1 and r = 0, the views mean and max of `logmel`, and r = 0.5, which is near r = 0.
    """

    name: ClassVar[str] = "twfr"
    r: tuple[float, ...] = (1.1, 1.05, 1.01, 0.99, 0.95, 0.9)

    def __post_init__(self) -> None:
        """Check that decays are distinct, finite and at least 0."""
        super().__post_init__()
        if not self.r or not all(0 <= r < float("inf") for r in self.r) or len(set(self.pooled_views)) < len(self.r):
            raise ValueError(f"r={';'.join(f'{r:g}' for r in self.r)}: expected distinct decays of at least 0")

    @property
    def pooled_views(self) -> tuple[str, ...]:
        """One view per decay."""
        return tuple(f"r{r:g}" for r in self.r)

    def pool(self, S: Tensor) -> Tensor:
        """Log-mel (batch, frame, mel) to (batch, views, mel)."""
        return gwrp(sort_frames(S), self.r).transpose(1, 2)
