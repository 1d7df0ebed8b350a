"""Encoder and decoder of masked autoencoders (He et al., CVPR 2022): transformers over patches at given places."""

from functools import partial

import torch
from torch import Tensor, nn

LONGEST_PERIOD = 10000.0  # of the sines that encode places, in patches / (2 pi); as in Vaswani et al. 2017


class Encoder(nn.Module):
    """Patches (batch, patch, area) and their places (..., patch, dim) to tokens (batch, patch, dim)."""

    def __init__(self, area: int, dim: int, heads: int, depth: int) -> None:
        super().__init__()
        self.project = nn.Linear(area, dim)
        self.layers = transformer(dim, heads, depth)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Encode patches at these places."""
        z: Tensor = self.layers(self.project(x) + places)
        return z


class Decoder(nn.Module):
    """Tokens (batch, k, inputs) of seen patches to the values of all patches (batch, patch, area)."""

    def __init__(self, area: int, inputs: int, dim: int, heads: int, depth: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(inputs, dim)
        self.hidden = nn.Parameter(0.02 * torch.randn(dim))
        self.layers = transformer(dim, heads, depth)
        self.predict = nn.Linear(dim, area)

    def forward(self, tokens: Tensor, seen: Tensor, places: Tensor) -> Tensor:
        """Decode tokens of the patches with numbers `seen` (batch, k) among all places (patch, dim)."""
        known = self.reduce(tokens)
        x = self.hidden.to(known).expand(len(known), len(places), -1)
        x = x.scatter(1, seen[:, :, None].expand_as(known), known)
        values: Tensor = self.predict(self.layers(x + places))
        return values


def transformer(dim: int, heads: int, depth: int) -> nn.Sequential:
    """Pre-norm transformer layers of width `dim`, and a layer norm."""
    layer = partial(nn.TransformerEncoderLayer, dim, heads, 4 * dim, dropout=0.0, activation="gelu")
    return nn.Sequential(*(layer(batch_first=True, norm_first=True) for _ in range(depth)), nn.LayerNorm(dim))


def grid(columns: int, rows: int, dim: int) -> Tensor:
    """Sines and cosines of the place of each patch: (columns * rows, dim), half for the column, half for the row."""
    rate = LONGEST_PERIOD ** -(torch.arange(dim // 4) / (dim // 4))
    waves = [torch.arange(n)[:, None] * rate for n in (columns, rows)]
    column, row = (torch.cat([wave.sin(), wave.cos()], dim=1) for wave in waves)
    return torch.cat([column.repeat_interleave(rows, dim=0), row.repeat(columns, 1)], dim=1)
