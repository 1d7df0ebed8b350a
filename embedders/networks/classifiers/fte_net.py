"""`fte_net`: two branches as in `two_branch`; chunks of the spectrogram, weighted along frequency and along time.

Zhang et al., "A dual-path framework with frequency-and-time excited network for anomalous sound detection", ICASSP
2024. The layer sizes here are our choice: those of `two_branch`, with other first layers and another excitation.

Clips may have any length: the layers that weight along time are stored for the frames of `seconds`, and averages and
weights are interpolated between those and the frames of a clip.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.classifiers.spectrum import Excitation, TwoBranchConfig
from embedders.networks.classifiers.two_branch import STEM, SpectrogramBranch, TwoBranchNet
from embedders.networks.trained import TrainedEmbedder

STEPS = 4
"""Steps from one chunk to the next that make up a chunk."""
LEAST_UNITS = 4
"""Hidden units of an excitation: short clips have 3 to 5 places, and a single ReLU that is 0 would weight nothing."""
FREQUENCY, TIME = 2, 3
"""Axes of maps (batch, channel, frequency, time)."""


@dataclass(frozen=True, kw_only=True)
class FTENetConfig(TwoBranchConfig):
    """chunk_bins, chunk_frames: length of a chunk along frequency, and along time; chunks overlap by three quarters."""

    chunk_bins: int = 16
    chunk_frames: int = 16

    def __post_init__(self) -> None:
        """Check the chunks."""
        super().__post_init__()
        for key in ("chunk_bins", "chunk_frames"):
            chunk = getattr(self, key)
            if chunk < 1 or chunk % (2 * STEPS):
                raise ValueError(f"{key}={chunk}: expected a multiple of {2 * STEPS}")


class ChunkEncoder(nn.Module):
    """Chunks that are long in frequency and chunks that are long in time, each mapped to half of the channels.

    Both kinds stand at the same places: one every `chunk_bins / 4` bins and `chunk_frames / 4` frames.
    """

    def __init__(self, config: FTENetConfig) -> None:
        super().__init__()
        bins, frames = config.chunk_bins, config.chunk_frames
        self.frequency = _chunks((bins, frames // STEPS), config)
        self.time = _chunks((bins // STEPS, frames), config)
        self.layers = nn.Sequential(nn.BatchNorm2d(STEM), nn.ReLU())

    def forward(self, S: Tensor) -> Tensor:
        """Map (batch, 1, bin, frame) to (batch, STEM, chunk along frequency, chunk along time)."""
        x: Tensor = self.layers(torch.cat([self.frequency(S), self.time(S)], dim=1))
        return x


def _chunks(kernel: tuple[int, int], config: FTENetConfig) -> nn.Conv2d:
    step = (config.chunk_bins // STEPS, config.chunk_frames // STEPS)
    return nn.Conv2d(1, STEM // 2, kernel, step, (kernel[0] // 2, kernel[1] // 2), bias=False)


class AxisExcitation(Excitation):
    """Weights along one axis of (batch, channel, frequency, time) from the averages over all others.

    An axis of another length than `size` is interpolated to `size` places, and the weights back.
    """

    def __init__(self, size: int, axis: int, ratio: int = 4) -> None:
        super().__init__(size, ratio, LEAST_UNITS)
        self.size = size
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Weight the places along the axis."""
        x = x.transpose(1, self.axis)
        weight = _resized(self.weights(_resized(x.mean(dim=(2, 3)), self.size)), x.shape[1])
        return (x * weight[:, :, None, None]).transpose(1, self.axis)


def _resized(x: Tensor, size: int) -> Tensor:
    """Interpolate (batch, place) to `size` places."""
    return x if x.shape[1] == size else F.interpolate(x[:, None], size=size, mode="linear")[:, 0]


class FTEBranch(SpectrogramBranch):
    """Chunks, then residual blocks that are excited along frequency and along time, then the maximum over time."""

    def first_layers(self, config: FTENetConfig) -> nn.Module:
        """Encode chunks."""
        return ChunkEncoder(config)

    def map_size(self, config: FTENetConfig, bins: int, frames: int) -> tuple[int, int]:
        """Count the chunks along frequency and along time."""
        return STEPS * bins // config.chunk_bins + 1, STEPS * frames // config.chunk_frames + 1

    def excitation(self, config: FTENetConfig, channels: int, height: int, frames: int) -> nn.Module:
        """Weight channels if the config asks for it, then along frequency, then along time."""
        channelwise = super().excitation(config, channels, height, frames)
        return nn.Sequential(channelwise, AxisExcitation(height, FREQUENCY), AxisExcitation(frames, TIME))


class FTENetwork(TwoBranchNet):
    """Spectrum and chunked spectrograms to (batch, branch, branch_dim)."""

    branch_type: ClassVar[type[SpectrogramBranch]] = FTEBranch


class FTENet(TrainedEmbedder):
    """Embedder: a spectrum branch and a spectrogram branch excited along frequency and time, concatenated."""

    name: ClassVar[str] = "fte_net"
    config_type: ClassVar[type] = FTENetConfig
    network_type: ClassVar[type[nn.Module]] = FTENetwork
