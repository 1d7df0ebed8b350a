"""What networks over frames of a log-mel share: config, scale, runs of frames, patches, statistics."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from embedders.networks.objectives.names import Features
from embedders.spectrogram import MelConfig, log_mel

LEVEL_DB, SPREAD_DB = -40.0, 20.0
"""Typical mean and spread of a log-mel: scaled by them, inputs are about -2 to 2 and networks learn faster."""

LEAST_STD = 0.05
"""Smallest standard deviation of a scaled value, 1 dB: without it, constant input would have infinite density."""


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


def scaled(S: Tensor) -> Tensor:
    """Log-mel in dB shifted and scaled to values near 0."""
    return (S - LEVEL_DB) / SPREAD_DB


def gaussian(mean: Tensor, spread: Tensor) -> Normal:
    """Density of scaled values; spread: any real number, mapped to a standard deviation above LEAST_STD."""
    return Normal(mean.float(), LEAST_STD + functional.softplus(spread.float()), validate_args=False)


def log_density(density: Normal, x: Tensor) -> Tensor:
    """Log density of every value, in nats."""
    log_p: Tensor = density.log_prob(x)  # type: ignore[no-untyped-call]
    return log_p


def contexts(S: Tensor, size: int) -> Tensor:
    """All runs of `size` neighbouring frames of S (batch, mel, frame): (batch, position, frame of run, mel)."""
    return S.unfold(2, size, 1).permute(0, 2, 3, 1)


def patches(S: Tensor, size: int, step: int, *, last: bool = False) -> Tensor:
    """Overlapping parts (batch, patch, mel, frame of patch); fewer than `size` frames are repeated to one patch.

    last: where frames are left over at the end, one more patch ends with the last frame; otherwise they are left out.
    """
    if S.shape[2] < size:
        S = S.repeat(1, 1, -(-size // S.shape[2]))[:, :, :size]
    parts = S.unfold(2, size, step).transpose(1, 2)
    if last and (S.shape[2] - size) % step:
        parts = torch.cat([parts, S[:, None, :, -size:]], dim=1)
    return parts


def without_middle(runs: Tensor) -> Tensor:
    """Remove the middle frame of runs (..., frame, mel)."""
    middle = runs.shape[-2] // 2
    return torch.cat([runs[..., :middle, :], runs[..., middle + 1 :, :]], dim=-2)


def mean_and_deviation(x: Tensor) -> Tensor:
    """Mean and standard deviation over time: (batch, channel, frame) to (batch, 2 * channel)."""
    variance = x.var(dim=2, correction=0)
    return torch.cat([x.mean(dim=2), (variance + 1e-5).sqrt()], dim=1)


class LogMelNet(nn.Module):
    """Base of networks that read the log-mel."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def front(self, waves: Tensor) -> Features:
        """Compute the log-mel (batch, mel, frame) in dB."""
        return (log_mel(waves, self.config).transpose(1, 2),)
