"""`ae` and `idnn`: dense networks that reconstruct log-mel frames; the store gets statistics of their residuals.

The DCASE baseline autoencoder reconstructs five neighbouring frames. IDNN (Suefusa et al., ICASSP 2020) predicts the
middle frame from the other four, which helps with impulsive sounds. The detector `residual` scores the views.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.trained import Features, Reconstruct, TrainedEmbedder
from embedders.spectrogram import MelConfig, log_mel

LEVEL_DB, SPREAD_DB = -40.0, 20.0
"""Typical mean and spread of a log-mel: scaled by them, inputs are about -2 to 2 and networks learn faster."""


@dataclass(frozen=True, kw_only=True)
class ContextConfig(MelConfig):
    """A log-mel front end; seconds: length of training crops; context: frames of one input, odd; bottleneck: width."""

    seconds: float = 10.0
    context: int = 5
    bottleneck: int = 8

    def __post_init__(self) -> None:
        """Check that the context has a middle frame and the bottleneck is not empty."""
        super().__post_init__()
        if self.context < 3 or self.context % 2 == 0 or self.bottleneck < 1:
            raise ValueError(
                f"context={self.context}, bottleneck={self.bottleneck}: expected an odd context of at least 3 and a "
                "bottleneck of at least 1"
            )

    @property
    def dim(self) -> int:
        """Columns of each view."""
        return self.n_mels

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one context."""
        return max(self.n_fft, self.context * self.hop)


@dataclass(frozen=True, kw_only=True)
class FrameConfig(ContextConfig):
    """width: width of the dense layers."""

    width: int = 128

    def __post_init__(self) -> None:
        """Check that layers are not empty."""
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width={self.width}: expected at least 1")


def scaled(S: Tensor) -> Tensor:
    """Log-mel in dB shifted and scaled to values near 0."""
    return (S - LEVEL_DB) / SPREAD_DB


def contexts(S: Tensor, size: int) -> Tensor:
    """All runs of `size` neighbouring frames of S (batch, mel, frame): (batch, position, frame of run, mel)."""
    return S.unfold(2, size, 1).permute(0, 2, 3, 1)


def patches(S: Tensor, size: int, step: int) -> Tensor:
    """Overlapping parts (batch, patch, mel, frame of patch); fewer than `size` frames are repeated to one patch."""
    if S.shape[2] < size:
        S = S.repeat(1, 1, -(-size // S.shape[2]))[:, :, :size]
    return S.unfold(2, size, step).transpose(1, 2)


def without_middle(runs: Tensor) -> Tensor:
    """Remove the middle frame of runs (..., frame, mel)."""
    middle = runs.shape[-2] // 2
    return torch.cat([runs[..., :middle, :], runs[..., middle + 1 :, :]], dim=-2)


def _dense(inputs: int, outputs: int, config: FrameConfig) -> nn.Sequential:
    """Four layers, a bottleneck, four layers and a linear output."""
    widths = [inputs, *[config.width] * 4, config.bottleneck, *[config.width] * 4]
    layers = [layer for n, out in pairwise(widths) for layer in (nn.Linear(n, out), nn.BatchNorm1d(out), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


class LogMelNet(nn.Module):
    """Base of networks that read the log-mel."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def front(self, waves: Tensor) -> Features:
        """Compute the log-mel (batch, mel, frame) in dB."""
        return (log_mel(waves, self.config).transpose(1, 2),)


class AENet(LogMelNet):
    """Log-mel to the residual of every frame of every context: (batch, position * context, mel) in dB."""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__(config)
        size = config.context * config.n_mels
        self.layers = _dense(size, size, config)

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
        self.layers = _dense((config.context - 1) * config.n_mels, config.n_mels, config)

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
