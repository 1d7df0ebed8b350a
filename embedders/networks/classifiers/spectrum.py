"""What `two_branch`, `multires` and `fte_net` share: config, squeeze-and-excitation, branch of the clip's spectrum."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class Excitation(nn.Module):
    """Squeeze-and-excitation: channel weights from the averages of all channels; `least`: of the hidden units."""

    def __init__(self, channels: int, ratio: int = 16, least: int = 1) -> None:
        super().__init__()
        squeezed = max(least, channels // ratio)
        self.squeeze = nn.Linear(channels, squeezed, bias=False)
        self.excite = nn.Linear(squeezed, channels, bias=False)

    def weights(self, means: Tensor) -> Tensor:
        """Weights between 0 and 1 from the averages (batch, channel)."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(means))))

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels of (batch, channel, ...)."""
        weight = self.weights(x.flatten(2).mean(2))
        return x * weight.view(*weight.shape, *(1,) * (x.ndim - 2))


def excitation(config: TwoBranchConfig, channels: int) -> nn.Module:
    """Squeeze-and-excitation if the config asks for it."""
    return Excitation(channels) if config.excitation else nn.Identity()


class SpectrumBranch(nn.Module):
    """Three strided convolutions along frequency and five dense layers."""

    def __init__(self, config: TwoBranchConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, length = 1, config.samples // 2
        for kernel, stride in ((256, 64), (64, 32), (16, 4)):
            layers += [nn.Conv1d(channels, 128, kernel, stride, kernel // 2, bias=False), nn.ReLU()]
            layers.append(excitation(config, 128))
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
