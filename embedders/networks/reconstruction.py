"""`ae` and `idnn`: dense networks that reconstruct log-mel frames; what they leave over goes into the store.

The DCASE baseline autoencoder sees five neighbouring frames and returns them; IDNN (Suefusa et al., ICASSP 2020) sees
four and predicts the one between, which helps with impulsive sounds. The detector `residual` scores the views.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.trained import Features, Reconstruct, TrainedEmbedder
from embedders.spectrogram import MelConfig, log_mel

LEVEL_DB, SPREAD_DB = -40.0, 20.0
"""Where log-mels lie, and how widely: layers compute with about -2 to 2 and learn far faster; residuals are in dB."""


@dataclass(frozen=True, kw_only=True)
class ContextConfig(MelConfig):
    """A log-mel front end; context: frames seen at once, odd; bottleneck: of the layers; seconds: of training crops."""

    seconds: float = 10.0
    context: int = 5
    bottleneck: int = 8

    def __post_init__(self) -> None:
        """Refuse contexts without a middle."""
        super().__post_init__()
        if self.context < 3 or self.context % 2 == 0 or self.bottleneck < 1:
            raise ValueError(
                f"context={self.context}, bottleneck={self.bottleneck}: expected an odd context of 3 or more, and a "
                "bottleneck of at least 1"
            )

    @property
    def dim(self) -> int:
        """Columns of the views."""
        return self.n_mels

    @property
    def min_samples(self) -> int:
        """Shortest wave with one whole context."""
        return max(self.n_fft, self.context * self.hop)


@dataclass(frozen=True, kw_only=True)
class FrameConfig(ContextConfig):
    """width: of the dense layers."""

    width: int = 128

    def __post_init__(self) -> None:
        """Refuse empty layers."""
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width={self.width}: expected at least 1")


def levelled(S: Tensor) -> Tensor:
    """Log-mel in dB as numbers near 0."""
    return (S - LEVEL_DB) / SPREAD_DB


def contexts(S: Tensor, size: int) -> Tensor:
    """All runs of `size` neighbouring frames of S (batch, mel, frame): (batch, position, frame of the run, mel)."""
    return S.unfold(2, size, 1).permute(0, 2, 3, 1)


def patches(S: Tensor, size: int, step: int) -> Tensor:
    """Overlapping parts (batch, patch, mel, frame of the patch); too few frames are repeated to one patch."""
    if S.shape[2] < size:
        S = S.repeat(1, 1, -(-size // S.shape[2]))[:, :, :size]
    return S.unfold(2, size, step).transpose(1, 2)


def without_middle(runs: Tensor) -> Tensor:
    """Runs (..., frame, mel) without their middle frame."""
    middle = runs.shape[-2] // 2
    return torch.cat([runs[..., :middle, :], runs[..., middle + 1 :, :]], dim=-2)


def _dense(inputs: int, outputs: int, config: FrameConfig) -> nn.Sequential:
    """Four layers, a bottleneck, four layers, and one back to the frames."""
    widths = [inputs, *[config.width] * 4, config.bottleneck, *[config.width] * 4]
    layers = [layer for one, two in pairwise(widths) for layer in (nn.Linear(one, two), nn.BatchNorm1d(two), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


class _FrameNet(nn.Module):
    def __init__(self, config: FrameConfig) -> None:
        super().__init__()
        self.config = config

    def front(self, waves: Tensor) -> Features:
        """Log-mel (batch, mel, frame) in dB."""
        return (log_mel(waves, self.config).transpose(1, 2),)


class AENet(_FrameNet):
    """Residuals of every frame of every context, (batch, positions * context, mel)."""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        size = config.context * config.n_mels
        self.layers = _dense(size, size, config)

    def forward(self, S: Tensor) -> Tensor:
        """Reconstruction minus input."""
        x = contexts(levelled(S), self.config.context)
        flat = x.flatten(0, 1).flatten(1)
        residual: Tensor = SPREAD_DB * (self.layers(flat) - flat)
        return residual.view(x.shape).flatten(1, 2)


class IDNNNet(_FrameNet):
    """Residuals of the middle frame of every context, (batch, positions, mel)."""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        self.layers = _dense((config.context - 1) * config.n_mels, config.n_mels, config)

    def forward(self, S: Tensor) -> Tensor:
        """Prediction minus what came."""
        x = contexts(levelled(S), self.config.context)
        predicted: Tensor = self.layers(without_middle(x).flatten(0, 1).flatten(1))
        return SPREAD_DB * (predicted.view(*x.shape[:2], -1) - x[:, :, self.config.context // 2])


class AE(TrainedEmbedder):
    """Residual views of the autoencoder."""

    name: ClassVar[str] = "ae"
    config_type: ClassVar[type] = FrameConfig
    network_type: ClassVar[type[nn.Module]] = AENet
    objective_type: ClassVar[type[Reconstruct]] = Reconstruct


class IDNN(TrainedEmbedder):
    """Residual views of the interpolating network."""

    name: ClassVar[str] = "idnn"
    config_type: ClassVar[type] = FrameConfig
    network_type: ClassVar[type[nn.Module]] = IDNNNet
    objective_type: ClassVar[type[Reconstruct]] = Reconstruct
