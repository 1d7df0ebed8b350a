"""Pooling of an encoder's tokens (batch, time, band, dim) to a few named views of dim values (`flat`: band * dim).

Encoders of waves have one band; encoders of spectrogram patches have several, lowest frequencies first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def mean(tokens: Tensor) -> Tensor:
    """Mean over all tokens: (..., time, band, dim) to (..., 1, dim)."""
    return tokens.mean(dim=(-3, -2)).unsqueeze(-2)


def bands(tokens: Tensor) -> Tensor:
    """Mean over time, one view per band: (..., time, band, dim) to (..., band, dim)."""
    return tokens.mean(dim=-3)


def flat(tokens: Tensor) -> Tensor:
    """Mean over time, all bands joined, lowest first: (..., time, band, dim) to (..., 1, band * dim)."""
    return tokens.mean(dim=-3).flatten(-2).unsqueeze(-2)


def stats(tokens: Tensor) -> Tensor:
    """Mean and standard deviation over all tokens: (..., time, band, dim) to (..., 2, dim)."""
    flat = tokens.flatten(-3, -2)
    centre = flat.mean(dim=-2, keepdim=True)
    spread = (flat - centre).square().mean(dim=-2, keepdim=True).sqrt()
    return torch.cat([centre, spread], dim=-2)


@dataclass(frozen=True)
class Pooling:
    """A pooling function, the names of its views for a number of bands, and whether a view joins all bands."""

    pool: Callable[[Tensor], Tensor]
    views: Callable[[int], tuple[str, ...]]
    joins: bool = False

    def width(self, n_bands: int, dim: int) -> int:
        """Number of values of a view."""
        return n_bands * dim if self.joins else dim


POOLINGS = {
    "mean": Pooling(mean, lambda n_bands: ("mean",)),
    "bands": Pooling(bands, lambda n_bands: tuple(f"b{band}" for band in range(n_bands))),
    "flat": Pooling(flat, lambda n_bands: ("flat",), joins=True),
    "stats": Pooling(stats, lambda n_bands: ("mean", "std")),
}


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation of tokens, weighted by learned attention per channel.

    The input of the attention is each token with the unweighted mean and standard deviation of all tokens (ECAPA-TDNN,
    Desplanques et al., INTERSPEECH 2020; as in AnoPatch).
    """

    def __init__(self, dim: int, hidden: int = 48) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(3 * dim, hidden), nn.Tanh(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool tokens (batch, token, dim) to (batch, 2 * dim)."""
        moments = self._moments(tokens, torch.full_like(tokens, 1 / tokens.shape[1]))
        inputs = torch.cat([tokens, *(moment[:, None].expand_as(tokens) for moment in moments)], dim=-1)
        return torch.cat(self._moments(tokens, self.attention(inputs).softmax(dim=1)), dim=-1)

    @staticmethod
    def _moments(tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        centre = (weights * tokens).sum(dim=1)
        variance = (weights * (tokens - centre[:, None]).square()).sum(dim=1)
        return centre, variance.clamp(min=1e-8).sqrt()  # the gradient of a root at 0 is infinite
