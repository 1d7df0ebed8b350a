"""`two_branch` and `multires`: one branch for the spectrum of the whole clip and one for each spectrogram.

Wilkinghoff, "Design choices for learning embeddings from auxiliary tasks", ICASSP 2023, with squeeze-and-excitation as
in "Self-supervised learning for anomalous sound detection", ICASSP 2024; several resolutions as in Fujimura et al.,
ICASSP 2025. No layer has a bias, so that no branch can learn a constant output that ignores the input.

Clips may have any length: spectrogram branches end in a maximum over time; the spectrum of the whole clip is averaged
into (or repeated over) the bins of a clip of `seconds` and scaled by the ratio of lengths.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.classifiers.spectrum import SpectrumBranch, TwoBranchConfig, excitation
from embedders.networks.objectives.names import Features
from embedders.networks.trained import TrainedEmbedder

STEM = 16
"""Channels after the first layers of a spectrogram branch."""


@dataclass(frozen=True, kw_only=True)
class MultiResConfig(TwoBranchConfig):
    """Three resolutions, 200 to 8000 Hz, no mean subtracted."""

    windows: tuple[int, ...] = (256, 1024, 4096)
    fmin_hz: float = 200.0
    subtract_mean: bool = False


class SpectrogramBranch(nn.Module):
    """A small residual network over time and frequency, then the maximum over time."""

    def __init__(self, config: TwoBranchConfig, window: int) -> None:
        super().__init__()
        used = config.bins(window)
        bins = used.stop - used.start
        self.norm = nn.BatchNorm1d(bins)
        self.stem = self.first_layers(config)
        width, (height, frames) = STEM, self.map_size(config, bins, config.samples // (window // 2) + 1)
        blocks = []
        for out in (16, 32, 64, 128):
            height, frames = -(-height // 2), -(-frames // 2)
            for down in (True, False):
                blocks.append(Residual(width, out, self.excitation(config, out, height, frames), down=down))
                width = out
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Sequential(
            nn.BatchNorm1d(width * height), nn.Linear(width * height, config.branch_dim, bias=False)
        )

    def first_layers(self, config: Any) -> nn.Module:
        """Map (batch, 1, bin, frame) to (batch, STEM, *map_size)."""
        return nn.Sequential(
            nn.Conv2d(1, STEM, 7, 2, 3, bias=False), nn.BatchNorm2d(STEM), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )

    def map_size(self, config: Any, bins: int, frames: int) -> tuple[int, int]:
        """Size of the map after the first layers."""
        return -(-bins // 4), -(-frames // 4)

    def excitation(self, config: Any, channels: int, height: int, frames: int) -> nn.Module:
        """Last layer of a residual block for maps (batch, channels, height, frames)."""
        return excitation(config, channels)

    def forward(self, S: Tensor) -> Tensor:
        """Embed spectrograms: (batch, bin, frame) to (batch, branch_dim)."""
        x = self.blocks(self.stem(self.norm(S)[:, None]))
        z: Tensor = self.project(x.amax(dim=3).flatten(1))
        return z


class Residual(nn.Module):
    """Pre-activation residual block; with `down` it halves the map, and its input by max-pooling and 1 x 1."""

    def __init__(self, width: int, out: int, excitation: nn.Module, *, down: bool) -> None:
        super().__init__()
        stride = 2 if down else 1
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            excitation,
        )
        resize = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(width, out, 1, bias=False))
        self.carry = resize if down else nn.Identity()  # its name is part of checkpoints

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, bin, frame) to (batch, out, bin, frame)."""
        y: Tensor = self.layers(x) + self.carry(x)
        return y


class TwoBranchNet(nn.Module):
    """Spectrum and spectrograms to (batch, branch, branch_dim); branch 0 is the spectrum."""

    branch_type: ClassVar[type[SpectrogramBranch]] = SpectrogramBranch

    def __init__(self, config: TwoBranchConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrum = SpectrumBranch(config)
        self.spectrograms = nn.ModuleList([self.branch_type(config, window) for window in config.windows])

    def front(self, waves: Tensor) -> Features:
        """Compute magnitudes of the whole clip (batch, bin) and of each spectrogram (batch, bin, frame)."""
        return self._spectrum(waves), *(self._spectrogram(waves, window) for window in self.config.windows)

    def _spectrum(self, waves: Tensor) -> Tensor:
        n, n_configured = waves.shape[1], self.config.samples
        magnitude: Tensor = torch.fft.rfft(waves).abs()[:, : n // 2] * (n_configured / n)
        if n != n_configured:
            magnitude = F.adaptive_avg_pool1d(magnitude, n_configured // 2)
        return magnitude

    def _spectrogram(self, waves: Tensor, window: int) -> Tensor:
        shape = torch.hann_window(window, device=waves.device)
        S = torch.stft(waves, window, window // 2, window=shape, return_complex=True).abs()
        S = S[:, self.config.bins(window)]
        return S - S.mean(dim=2, keepdim=True) if self.config.subtract_mean else S

    def forward(self, spectrum: Tensor, *spectrograms: Tensor) -> Tensor:
        """Embed every branch."""
        parts = [branch(S) for branch, S in zip(self.spectrograms, spectrograms, strict=True)]
        return torch.stack([self.spectrum(spectrum), *parts], dim=1)


class TwoBranch(TrainedEmbedder):
    """Embedder: spectrum and spectrogram branches, concatenated."""

    name: ClassVar[str] = "two_branch"
    config_type: ClassVar[type] = TwoBranchConfig
    network_type: ClassVar[type[nn.Module]] = TwoBranchNet


class MultiRes(TrainedEmbedder):
    """Embedder: a spectrum branch and spectrogram branches of several resolutions, concatenated."""

    name: ClassVar[str] = "multires"
    config_type: ClassVar[type] = MultiResConfig
    network_type: ClassVar[type[nn.Module]] = TwoBranchNet
