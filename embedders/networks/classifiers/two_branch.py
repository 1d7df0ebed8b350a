"""`two_branch` and `multires`: one branch for the spectrum of the whole clip and one for each spectrogram.

Wilkinghoff, "Design choices for learning embeddings from auxiliary tasks", ICASSP 2023, with squeeze-and-excitation as
in "Self-supervised learning for anomalous sound detection", ICASSP 2024; several resolutions as in Fujimura et al.,
ICASSP 2025. No layer has a bias, so that no branch can learn a constant output that ignores the input.

Clips may have any length: spectrogram branches end in a maximum over time; the spectrum of the whole clip is averaged
into (or repeated over) the bins of a clip of `seconds` and scaled by the ratio of lengths.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.objectives.names import Features
from embedders.networks.trained import TrainedEmbedder


@dataclass(frozen=True, kw_only=True)
class TwoBranchConfig:
    """windows: window lengths in samples, one spectrogram branch each; the hop is half a window.

    subtract_mean: subtract each bin's mean over time from the spectrogram. excitation: use squeeze-and-excitation.
    fmin_hz, fmax_hz: range of the bins used. branch_dim: dimension of each branch's embedding; branches are
    concatenated.
    """

    sample_rate_hz: int = 16000
    seconds: float = 10.0
    windows: tuple[int, ...] = (1024,)
    fmin_hz: float = 0.0
    fmax_hz: float = 8000.0
    subtract_mean: bool = True
    excitation: bool = False
    branch_dim: int = 128

    def __post_init__(self) -> None:
        """Check windows, frequencies and sizes."""
        if not self.windows or min(self.windows) < 64 or not 0 <= self.fmin_hz < self.fmax_hz:
            raise ValueError(
                f"windows={';'.join(map(str, self.windows))}, fmin_hz={self.fmin_hz:g}, fmax_hz={self.fmax_hz:g}: "
                "expected windows of at least 64 samples and fmin_hz below fmax_hz"
            )
        if self.seconds * self.sample_rate_hz < max(self.windows) or self.branch_dim < 1:
            raise ValueError(
                f"seconds={self.seconds:g}, branch_dim={self.branch_dim}: expected seconds of at least one window "
                f"({max(self.windows)} samples) and branch_dim of at least 1"
            )

    @property
    def branches(self) -> int:
        """Number of branches: the spectrum and each spectrogram."""
        return 1 + len(self.windows)

    @property
    def dim(self) -> int:
        """Dimension of the concatenated embedding."""
        return self.branch_dim * self.branches

    @property
    def samples(self) -> int:
        """Samples of a clip of `seconds`."""
        return round(self.seconds * self.sample_rate_hz)

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window."""
        return max(self.windows)

    def bins(self, window: int) -> slice:
        """Bins used from a spectrum of `window` samples."""
        step = self.sample_rate_hz / window
        return slice(round(self.fmin_hz / step), min(round(self.fmax_hz / step) + 1, window // 2 + 1))


@dataclass(frozen=True, kw_only=True)
class MultiResConfig(TwoBranchConfig):
    """Three resolutions, 200 to 8000 Hz, no mean subtracted."""

    windows: tuple[int, ...] = (256, 1024, 4096)
    fmin_hz: float = 200.0
    subtract_mean: bool = False


class TwoBranchNet(nn.Module):
    """Spectrum and spectrograms to (batch, branch, branch_dim); branch 0 is the spectrum."""

    def __init__(self, config: TwoBranchConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrum = SpectrumBranch(config)
        self.spectrograms = nn.ModuleList([SpectrogramBranch(config, window) for window in config.windows])

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


class Excitation(nn.Module):
    """Squeeze-and-excitation: channel weights from the averages of all channels."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // ratio)
        self.squeeze = nn.Linear(channels, squeezed, bias=False)
        self.excite = nn.Linear(squeezed, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels of (batch, channel, ...)."""
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(x.flatten(2).mean(2)))))
        return x * weight.view(*weight.shape, *(1,) * (x.ndim - 2))


def _excitation(config: TwoBranchConfig, channels: int) -> nn.Module:
    return Excitation(channels) if config.excitation else nn.Identity()


class SpectrumBranch(nn.Module):
    """Three strided convolutions along frequency and five dense layers."""

    def __init__(self, config: TwoBranchConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, length = 1, config.samples // 2
        for kernel, stride in ((256, 64), (64, 32), (16, 4)):
            layers += [nn.Conv1d(channels, 128, kernel, stride, kernel // 2, bias=False), nn.ReLU()]
            layers.append(_excitation(config, 128))
            channels, length = 128, (length + 2 * (kernel // 2) - kernel) // stride + 1
        self.convolutions = nn.Sequential(*layers)
        widths = [channels * length, *[128] * 4]
        self.dense = nn.Sequential(
            *(
                layer
                for n, out in pairwise(widths)
                for layer in (nn.Linear(n, out, bias=False), nn.BatchNorm1d(out), nn.ReLU())
            ),
            nn.Linear(128, config.branch_dim, bias=False),
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Embed spectra: (batch, bin) to (batch, branch_dim)."""
        z: Tensor = self.dense(self.convolutions(spectrum[:, None]).flatten(1))
        return z


class SpectrogramBranch(nn.Module):
    """A small residual network over time and frequency, then the maximum over time."""

    def __init__(self, config: TwoBranchConfig, window: int) -> None:
        super().__init__()
        used = config.bins(window)
        bins = used.stop - used.start
        self.norm = nn.BatchNorm1d(bins)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        width, height = 16, -(-bins // 4)
        blocks = []
        for out in (16, 32, 64, 128):
            blocks += [_Residual(config, width, out, down=True), _Residual(config, out, out, down=False)]
            width, height = out, -(-height // 2)
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Sequential(
            nn.BatchNorm1d(width * height), nn.Linear(width * height, config.branch_dim, bias=False)
        )

    def forward(self, S: Tensor) -> Tensor:
        """Embed spectrograms: (batch, bin, frame) to (batch, branch_dim)."""
        x = self.blocks(self.stem(self.norm(S)[:, None]))
        z: Tensor = self.project(x.amax(dim=3).flatten(1))
        return z


class _Residual(nn.Module):
    """Pre-activation residual block; with `down` it halves the map, and its input by max-pooling and 1 x 1."""

    def __init__(self, config: TwoBranchConfig, width: int, out: int, *, down: bool) -> None:
        super().__init__()
        stride = 2 if down else 1
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            _excitation(config, out),
        )
        resize = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(width, out, 1, bias=False))
        self.carry = resize if down else nn.Identity()  # its name is part of checkpoints

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x) + self.carry(x)
        return y


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
