"""MobileFaceNet over stacked spectrogram channels: the classifier trunk of the STgram family, for clips of any length.

Chen et al., "MobileFaceNets", CCBR 2018; used by Liu et al., "Anomalous sound detection using spectral-temporal
information fusion", ICASSP 2022. The published network ends in a depthwise convolution over the whole map, which fits a
single clip length; here that kernel is interpolated to the size of the map.
"""

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BOTTLENECKS = {
    "2021": ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)),
    "slim": ((2, 128, 2, 2), (4, 128, 2, 2), (4, 128, 2, 2)),
}
"""Expansion, channels, repeats and stride of the first repeat of each group; "slim": 2022 challenge winner."""


class MobileFaceNet(nn.Module):
    """Spectrogram channels (batch, channels, mel, frame) to an embedding (batch, dim).

    frames: length for which the last kernel is stored; it is interpolated to other lengths. mels: fixed.
    """

    def __init__(self, channels: int, *, bottlenecks: str, mels: int, frames: int, dim: int = 128) -> None:
        super().__init__()
        table = BOTTLENECKS[bottlenecks]
        layers = [
            _Conv(channels, 64, kernel=3, stride=2),
            nn.PReLU(64),
            _Conv(64, 64, kernel=3, groups=64),
            nn.PReLU(64),
        ]
        width, halvings = 64, 1 + sum(stride == 2 for *_, stride in table)
        for expansion, out, repeats, stride in table:
            for i in range(repeats):
                layers.append(_Bottleneck(width, out, expansion, stride if i == 0 else 1))
                width = out
        self.trunk = nn.Sequential(*layers, _Conv(width, 512), nn.PReLU(512))
        self.pool = StretchedKernel(512, -(-mels // 2**halvings), -(-frames // 2**halvings))
        linear = nn.Linear(512, dim, bias=False)
        nn.init.normal_(linear.weight, std=sqrt(2 / dim))
        self.project = nn.Sequential(linear, nn.BatchNorm1d(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Embed maps of any number of frames."""
        z: Tensor = self.project(self.pool(self.trunk(x)))
        return z


class StretchedKernel(nn.Module):
    """Depthwise convolution over the whole map, and batch norm: (batch, channels, height, width) to (batch, channels).

    The kernel is stored for `width` columns. For another width it is interpolated and scaled by the ratio of widths, so
    that a steady sound gives the same output at any length.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, height, width) * sqrt(2 / (height * width * channels)))
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Sum the map, weighted by the kernel."""
        stored, width = self.weight.shape[-1], x.shape[-1]
        weight: Tensor = self.weight
        if width != stored:
            weight = F.interpolate(weight, size=width, mode="linear") * (stored / width)
        y: Tensor = self.norm((x * weight).sum(dim=(-2, -1)))
        return y


class _Conv(nn.Sequential):
    """Convolution and batch norm."""

    def __init__(self, width: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        nn.init.normal_(conv.weight, std=sqrt(2 / (kernel * kernel * out)))
        super().__init__(conv, nn.BatchNorm2d(out))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = width * expansion
        self.layers = nn.Sequential(
            _Conv(width, wide),
            nn.PReLU(wide),
            _Conv(wide, wide, kernel=3, stride=stride, groups=wide),
            nn.PReLU(wide),
            _Conv(wide, out),
        )
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y
