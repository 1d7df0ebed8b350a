"""`mobilenetv2`: the classifier of the DCASE 2021 and 2022 baselines, on patches of the log-mel spectrogram.

The network is that of Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018. The baseline
trains on every patch by itself; so does `featstore train` with `seconds` of one patch (2.016 at the defaults). An
embedding is the mean over a clip's patches, and its posterior that of the mean logits.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from embedders.networks.reconstruction import levelled, patches
from embedders.networks.trained import Features, TrainedEmbedder
from embedders.spectrogram import MelConfig, log_mel

STEM, LAST = 32, 1280
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repeats and stride of the first repeat."""

COPIES = 3  # the network was made for colour pictures; the spectrogram stands in every channel


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config(MelConfig):
    """patch, step: frames of a patch, and from one to the next; factor: on the channels of every layer but the last.

    seconds: the length of training crops.
    """

    seconds: float = 10.0
    patch: int = 64
    step: int = 8
    factor: float = 0.5

    def __post_init__(self) -> None:
        """Refuse empty patches and layers."""
        super().__post_init__()
        if self.patch < 1 or self.step < 1 or not 0 < self.factor <= 4:
            raise ValueError(
                f"patch={self.patch}, step={self.step}, factor={self.factor:g}: expected at least 1 frame, and a "
                "factor above 0 and at most 4"
            )

    @property
    def dim(self) -> int:
        """Columns of the embedding."""
        return channels(LAST, max(1.0, self.factor))

    @property
    def min_samples(self) -> int:
        """Shortest wave: one window; frames fewer than a patch are repeated."""
        return self.n_fft


def channels(width: int, factor: float) -> int:
    """Width times factor, rounded to a multiple of 8 that is at least 8 and not below 90 %."""
    scaled = width * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


class InvertedResidual(nn.Module):
    """1 x 1 to more channels, depthwise 3 x 3, 1 x 1 back without activation; added to its input where shapes agree."""

    def __init__(self, width: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = width * expansion
        widening = [_conv(width, wide)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widening, _conv(wide, wide, kernel=3, stride=stride, groups=wide), _conv(wide, out, active=False)
        )
        self.adds = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, mel, frame)."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def _conv(
    width: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch norm, and ReLU6 where `active`."""
    conv = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(conv, nn.BatchNorm2d(out), *([nn.ReLU6()] if active else []))


def trunk(factor: float) -> nn.Sequential:
    """Pictures (batch, 3, height, width) to maps of `channels(LAST, max(1, factor))` channels at a 32nd of the size."""
    width = channels(STEM, factor)
    layers: list[nn.Module] = [_conv(COPIES, width, kernel=3, stride=2)]
    for expansion, out, repeats, stride in BLOCKS:
        for i in range(repeats):
            layers.append(InvertedResidual(width, channels(out, factor), expansion, stride if i == 0 else 1))
            width = channels(out, factor)
    return nn.Sequential(*layers, _conv(width, channels(LAST, max(1.0, factor))))


class MobileNetV2Net(nn.Module):
    """Log-mel to (batch, 1, dim)."""

    def __init__(self, config: MobileNetV2Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk(config.factor)

    def front(self, waves: Tensor) -> Features:
        """Log-mel (batch, mel, frame) in dB."""
        return (log_mel(waves, self.config).transpose(1, 2),)

    def patches(self, S: Tensor) -> Tensor:
        """Overlapping parts (batch, patch, mel, frame of the patch); too few frames are repeated to one patch."""
        return patches(S, self.config.patch, self.config.step)

    def forward(self, S: Tensor) -> Tensor:
        """One branch."""
        parts = self.patches(levelled(S))
        pictures = parts.flatten(0, 1)[:, None].expand(-1, COPIES, -1, -1)
        z: Tensor = self.trunk(pictures).mean(dim=(2, 3))
        return z.view(*parts.shape[:2], -1).mean(dim=1, keepdim=True)


class MobileNetV2(TrainedEmbedder):
    """Embedding of a trained MobileNetV2."""

    name: ClassVar[str] = "mobilenetv2"
    config_type: ClassVar[type] = MobileNetV2Config
    network_type: ClassVar[type[nn.Module]] = MobileNetV2Net
