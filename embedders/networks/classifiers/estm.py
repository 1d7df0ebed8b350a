"""`estm`: selective state-space layers over time and over bands of the gated log-mel and a learned spectrogram.

Ma et al., "ESTM: an enhanced dual-branch spectral-temporal Mamba for anomalous sound detection", IEEE Signal Processing
Letters 2025. The sizes, and what a layer reads of each band, are our choice.

Clips may have any length: a band is read as means over `segments` equal parts of the clip.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.classifiers.branches import BranchConfig, BranchNet
from embedders.networks.classifiers.selective_scan import Mamba
from embedders.networks.frames import mean_and_deviation
from embedders.networks.trained import TrainedEmbedder


@dataclass(frozen=True, kw_only=True)
class ESTMConfig(BranchConfig):
    """width, state: channels of each layer and states of a channel. layers: layers of a branch. segments: see above."""

    channels: tuple[str, ...] = ("tsgram", "tgram")
    width: int = 64
    state: int = 16
    layers: int = 2
    segments: int = 64

    def __post_init__(self) -> None:
        """Check that nothing is empty."""
        super().__post_init__()
        if min(self.width, self.state, self.layers, self.segments) < 1:
            raise ValueError(
                f"width={self.width}, state={self.state}, layers={self.layers}, segments={self.segments}: expected at "
                "least 1 of each"
            )


class Scan(nn.Module):
    """Selective state-space layers over sequences (batch, place, inputs) to (batch, branch_dim)."""

    def __init__(self, config: ESTMConfig, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, config.width),
            *(Mamba(config.width, config.state) for _ in range(config.layers)),
            nn.RMSNorm(config.width),
        )
        self.project = nn.Linear(2 * config.width, config.branch_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embed sequences."""
        z: Tensor = self.project(mean_and_deviation(self.layers(x).transpose(1, 2)))
        return z


class ESTMNetwork(BranchNet):
    """Stacked channels to (batch, 2, dim / 2): over time, and over bands from low to high."""

    def __init__(self, config: ESTMConfig) -> None:
        super().__init__(config)
        self.segments = config.segments
        n_channels = len(config.channels)
        self.norm = nn.BatchNorm1d(n_channels * config.n_mels)
        self.time = Scan(config, n_channels * config.n_mels)
        self.bands = Scan(config, n_channels * config.segments)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return both branches."""
        channels = self.channels(waves, S)  # (batch, channel, mel, frame)
        x = self.norm(channels.flatten(1, 2))
        parts = F.adaptive_avg_pool1d(x, self.segments).view(*channels.shape[:3], self.segments)
        bands = parts.transpose(1, 2).flatten(2)  # (batch, mel, channel * segment)
        return torch.stack([self.time(x.transpose(1, 2)), self.bands(bands)], dim=1)


class ESTM(TrainedEmbedder):
    """Embedder: selective state-space branches over time and over bands, concatenated."""

    name: ClassVar[str] = "estm"
    config_type: ClassVar[type] = ESTMConfig
    network_type: ClassVar[type[nn.Module]] = ESTMNetwork
