"""`tdnn`: time-delay layers over stacked channels and statistics over time (after USTC's APSIPA 2022 classifier).

The layer sizes were not published; ours are those of x-vectors (Snyder et al., ICASSP 2018) at a quarter of the width.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from embedders.networks.classifiers.channels import ChannelConfig, Channels
from embedders.networks.frames import mean_and_deviation
from embedders.networks.objectives.names import Features
from embedders.networks.trained import TrainedEmbedder

LAYERS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
"""Kernel and dilation of each layer."""


@dataclass(frozen=True, kw_only=True)
class TDNNConfig(ChannelConfig):
    """width: channels of each layer."""

    width: int = 128

    def __post_init__(self) -> None:
        """Check that layers are not empty."""
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width={self.width}: expected at least 1")


class TDNNNet(nn.Module):
    """Stacked channels to (batch, 1, dim)."""

    def __init__(self, config: TDNNConfig) -> None:
        super().__init__()
        self.channels = Channels(config)
        inputs = len(config.channels) * config.n_mels
        self.norm = nn.BatchNorm1d(inputs)
        layers: list[nn.Module] = []
        for kernel, dilation in LAYERS:
            conv = nn.Conv1d(inputs, config.width, kernel, padding=dilation * (kernel // 2), dilation=dilation)
            layers += [conv, nn.ReLU(), nn.BatchNorm1d(config.width)]
            inputs = config.width
        self.layers = nn.Sequential(*layers)
        self.project = nn.Linear(2 * config.width, config.dim)

    def front(self, waves: Tensor) -> Features:
        """Compute the wave and its log-mel; no parameters."""
        return self.channels.front(waves)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return one branch."""
        x = self.layers(self.norm(self.channels(waves, S).flatten(1, 2)))
        z: Tensor = self.project(mean_and_deviation(x))
        return z[:, None]


class TDNN(TrainedEmbedder):
    """Embedder: a trained time-delay network."""

    name: ClassVar[str] = "tdnn"
    config_type: ClassVar[type] = TDNNConfig
    network_type: ClassVar[type[nn.Module]] = TDNNNet
