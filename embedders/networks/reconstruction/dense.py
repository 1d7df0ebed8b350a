"""`ae` and `idnn`: dense networks that reconstruct log-mel frames; the store gets statistics of their residuals.

The DCASE baseline autoencoder reconstructs five neighbouring frames. IDNN (Suefusa et al., ICASSP 2020) predicts the
middle frame from the other four, which helps with impulsive sounds. The detector `residual` scores the views.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from embedders.networks.frames import SPREAD_DB, ContextConfig, LogMelNet, contexts, scaled, without_middle
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.trained import TrainedEmbedder


@dataclass(frozen=True, kw_only=True)
class FrameConfig(ContextConfig):
    """width: width of the dense layers."""

    width: int = 128

    def __post_init__(self) -> None:
        """Check that layers are not empty."""
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width={self.width}: expected at least 1")


def dense(inputs: int, outputs: int, config: FrameConfig) -> nn.Sequential:
    """Four layers, a bottleneck, four layers and a linear output."""
    widths = [inputs, *[config.width] * 4, config.bottleneck, *[config.width] * 4]
    layers = [layer for n, out in pairwise(widths) for layer in (nn.Linear(n, out), nn.BatchNorm1d(out), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


class AENet(LogMelNet):
    """Log-mel to the residual of every frame of every context: (batch, position * context, mel) in dB."""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        size = config.context * config.n_mels
        self.layers = dense(size, size, config)

    def forward(self, S: Tensor) -> Tensor:
        """Return reconstruction minus input."""
        x = contexts(scaled(S), self.config.context)
        flat = x.flatten(0, 1).flatten(1)
        residual: Tensor = SPREAD_DB * (self.layers(flat) - flat)
        return residual.view(x.shape).flatten(1, 2)


class IDNNNet(LogMelNet):
    """Log-mel to the residual of the middle frame of every context: (batch, position, mel) in dB."""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        self.layers = dense((config.context - 1) * config.n_mels, config.n_mels, config)

    def forward(self, S: Tensor) -> Tensor:
        """Return prediction minus middle frame."""
        x = contexts(scaled(S), self.config.context)
        predicted: Tensor = self.layers(without_middle(x).flatten(0, 1).flatten(1))
        return SPREAD_DB * (predicted.view(*x.shape[:2], -1) - x[:, :, self.config.context // 2])


class AE(TrainedEmbedder):
    """Embedder: residual views of the autoencoder."""

    name: ClassVar[str] = "ae"
    config_type: ClassVar[type] = FrameConfig
    network_type: ClassVar[type[nn.Module]] = AENet
    objective_type: ClassVar[type[Reconstruct]] = Reconstruct


class IDNN(TrainedEmbedder):
    """Embedder: residual views of the interpolating network."""

    name: ClassVar[str] = "idnn"
    config_type: ClassVar[type] = FrameConfig
    network_type: ClassVar[type[nn.Module]] = IDNNNet
    objective_type: ClassVar[type[Reconstruct]] = Reconstruct
