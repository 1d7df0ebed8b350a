"""The head of a fine-tuned encoder: pooling of its tokens, then batch norm and a linear layer."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from embedders.pretrained.pooling import POOLINGS, AttentiveStatistics, pooling_of
from featstore.spec import did_you_mean

ATTENTIVE = "attentive"


def check_pool(text: str) -> None:
    """Refuse, by ValueError, what is neither "attentive" nor the text of a pooling (see `pretrained.pooling`)."""
    name, known = text.partition(":")[0], (ATTENTIVE, *POOLINGS)
    if name not in known:
        raise ValueError(f"unknown pool {text!r}; choose from {', '.join(known)}{did_you_mean(name, known)}")
    if name != ATTENTIVE:
        pooling_of(text)
    elif text != name:
        raise ValueError(f"pool {text!r}: {name} has no options; write pool={name}")


class Head(nn.Module):
    """Pooling, batch norm and a linear layer: tokens (batch, time, band, dim) to (batch, out).

    views: names of the pooling's views, () for a single one. shape: of the pooled tokens of a clip, (d,) or (views, d).
    """

    def __init__(self, pool: str, dim: int, n_bands: int, out: int) -> None:
        super().__init__()
        self.attentive = AttentiveStatistics(dim) if pool == ATTENTIVE else None
        self.pooling = None if pool == ATTENTIVE else pooling_of(pool)
        names = self.pooling.views(n_bands) if self.pooling else ()
        self.views = names if len(names) > 1 else ()
        width = self.pooling.width(n_bands, dim) if self.pooling else 2 * dim
        self.shape = (len(self.views), width) if self.views else (width,)
        self.norm = nn.BatchNorm1d(math.prod(self.shape))
        self.project = nn.Linear(math.prod(self.shape), out)

    def pooled(self, tokens: Tensor) -> Tensor:
        """Pool tokens to (batch, *shape), in float32, because standard deviations lose precision in bfloat16."""
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            pooled = self.pooling.pool(tokens) if self.pooling else self._statistics(tokens)
        return pooled.reshape(len(tokens), *self.shape)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool, normalise and project."""
        with torch.autocast(tokens.device.type, enabled=False):
            z: Tensor = self.project(self.norm(self.pooled(tokens).flatten(1)))
        return z

    def _statistics(self, tokens: Tensor) -> Tensor:
        statistics: Tensor = cast(AttentiveStatistics, self.attentive)(tokens.flatten(1, 2))
        return statistics
