"""Pooling of an encoder's tokens (batch, time, band, dim) to a few named views of dim values (`flat`: band * dim).

Encoders of waves have one band; encoders of spectrogram patches have several, lowest frequencies first. A pooling is
written NAME, or NAME:OPTION=VALUE where it has an option: rdp, rdp:gamma=2, gem:p=5. It has no more than one, so the
comma after it belongs to the encoder: beats:checkpoint=BEATs_iter3.pt,pool=rdp:gamma=2,layers=8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from embedders.statistics.emphasis import EMPHASES
from featstore.spec import did_you_mean, split_spec, typed, value_text


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


def by_band(tokens: Tensor, frames: Callable[[Tensor], Tensor]) -> Tensor:
    """Pool the frames (..., time, dim) of each band, one view per band: (..., time, band, dim) to (..., band, dim)."""
    return frames(tokens.transpose(-3, -2))


def band_views(n_bands: int) -> tuple[str, ...]:
    """Names of a view per band."""
    return tuple(f"b{band}" for band in range(n_bands))


@dataclass(frozen=True)
class Pooling:
    """A pooling function, the names of its views for a number of bands, and whether a view joins all bands."""

    pool: Callable[[Tensor], Tensor]
    views: Callable[[int], tuple[str, ...]]
    joins: bool = False

    def width(self, n_bands: int, dim: int) -> int:
        """Number of values of a view."""
        return n_bands * dim if self.joins else dim


def _emphasis(name: str, value: float) -> Pooling:
    return Pooling(partial(by_band, frames=lambda x: EMPHASES[name].pool(x, value)), band_views)


POOLINGS = {
    "mean": Pooling(mean, lambda n_bands: ("mean",)),
    "bands": Pooling(bands, band_views),
    "flat": Pooling(flat, lambda n_bands: ("flat",), joins=True),
    "stats": Pooling(stats, lambda n_bands: ("mean", "std")),
    **{name: _emphasis(name, emphasis.default) for name, emphasis in EMPHASES.items()},
}
"""By name, with their options at the default."""


def pooling_of(text: str) -> Pooling:
    """Pooling of a text (see the module); ValueError says which name, option or value does not fit."""
    name, value = _parsed(text)
    return POOLINGS[name] if value is None else _emphasis(name, value)


def pooling_text(text: str) -> str:
    """The text in the one form that all texts of the same pooling share: `rdp` is `rdp:gamma=4.0`."""
    name, value = _parsed(text)
    return name if value is None else f"{name}:{EMPHASES[name].option}={value_text(value)}"


def _parsed(text: str) -> tuple[str, float | None]:
    """Name, and value of the option where the pooling has one."""
    name, pairs = split_spec(text, "pool", POOLINGS.__contains__)
    if name not in POOLINGS:
        raise ValueError(f"unknown pool {name!r}; choose from {', '.join(POOLINGS)}{did_you_mean(name, POOLINGS)}")
    if name not in EMPHASES:
        if pairs:
            raise ValueError(f"pool {text!r}: {name} has no options, got {pairs[0][0]}; write pool={name}")
        return name, None
    emphasis = EMPHASES[name]
    values = typed(pairs, {emphasis.option: float}, f"pool {name}", f"pool {text!r}")
    return name, emphasis.check(values.get(emphasis.option, emphasis.default), f"pool {text!r}")


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
