"""`sw_wavenet`: one WaveNet over the bands of the log-mel and one over the bands of a learned wavegram.

Chen et al., "SW-WaveNet: learning representation from spectrogram and wavegram using WaveNet for anomalous sound
detection", ICASSP 2023. Layers as in van den Oord et al., "WaveNet", 2016, but each layer sees as many frames after a
frame as before it. The layer sizes, the wavegram (`tgram`) and the statistics over time are our choice.

Clips may have any length: the embedding is made of means and deviations over time.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.classifiers.branches import BranchConfig, BranchNet
from embedders.networks.frames import mean_and_deviation
from embedders.networks.trained import TrainedEmbedder


@dataclass(frozen=True, kw_only=True)
class SWWaveNetConfig(BranchConfig):
    """Each of `channels` gets a WaveNet of its own and an equal part of the `dim` columns of the embedding.

    width: channels of each layer. layers: layers of a stack; layer k has dilation 2^k. stacks: number of stacks.
    """

    width: int = 64
    layers: int = 5
    stacks: int = 2

    def __post_init__(self) -> None:
        """Check that there are layers."""
        super().__post_init__()
        if min(self.width, self.layers, self.stacks) < 1 or self.layers > 16:
            raise ValueError(
                f"width={self.width}, layers={self.layers}, stacks={self.stacks}: expected at least 1 of each and at "
                "most 16 layers"
            )

    @property
    def branches(self) -> int:
        """Number of branches: one for each channel."""
        return len(self.channels)


class GatedLayer(nn.Module):
    """A dilated convolution, tanh times sigmoid, and two 1 x 1 convolutions: onto the input, and to the output."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.outputs = nn.Conv1d(width, 2 * width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, width, frame) to the input of the next layer and this layer's share of the output."""
        content, gate = self.dilated(x).chunk(2, dim=1)
        residual, skip = self.outputs(torch.tanh(content) * torch.sigmoid(gate)).chunk(2, dim=1)
        return x + residual, skip


class WaveNet(nn.Module):
    """Stacks of gated layers over sequences (batch, bands, frame) to (batch, dim)."""

    def __init__(self, config: SWWaveNetConfig, bands: int, dim: int) -> None:
        super().__init__()
        width = config.width
        self.first = nn.Sequential(nn.BatchNorm1d(bands), nn.Conv1d(bands, width, 1))
        self.layers = nn.ModuleList(
            [GatedLayer(width, 2**k) for _ in range(config.stacks) for k in range(config.layers)]
        )
        self.last = nn.Sequential(
            nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, width, 1), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.project = nn.Linear(2 * width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the sum of the outputs of all layers."""
        x = self.first(x)
        skips = []
        for layer in self.layers:
            x, skip = layer(x)
            skips.append(skip)
        z: Tensor = self.project(mean_and_deviation(self.last(torch.stack(skips).sum(dim=0))))
        return z


class SWWaveNetwork(BranchNet):
    """Channels to (batch, channel, dim / channels)."""

    def __init__(self, config: SWWaveNetConfig) -> None:
        super().__init__(config)
        self.extractors = nn.ModuleList([WaveNet(config, config.n_mels, config.branch_dim) for _ in config.channels])

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Embed every channel."""
        channels = self.channels(waves, S).unbind(dim=1)
        return torch.stack([extract(x) for extract, x in zip(self.extractors, channels, strict=True)], dim=1)


class SWWaveNet(TrainedEmbedder):
    """Embedder: WaveNets over log-mel and wavegram, concatenated."""

    name: ClassVar[str] = "sw_wavenet"
    config_type: ClassVar[type] = SWWaveNetConfig
    network_type: ClassVar[type[nn.Module]] = SWWaveNetwork
