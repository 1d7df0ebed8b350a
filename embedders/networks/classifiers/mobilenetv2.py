"""`mobilenetv2`: the classifier of the DCASE 2021 and 2022 baselines, on patches of the log-mel spectrogram.

Network: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018. The embedding of a clip is
the mean over its patches. The baseline trains on single patches; `featstore train` does the same where `seconds` is the
length of one patch (2.016 at the defaults).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from embedders.networks.frames import LogMelNet, patches, scaled
from embedders.networks.trained import TrainedEmbedder
from embedders.spectrogram import MelConfig

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
"""Expansion, channels, repeats and stride of the first repeat of each group."""

COPIES = 3  # the network reads colour images: every channel gets the spectrogram


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Config(MelConfig):
    """A log-mel front end and its network.

    seconds: length of training crops. patch: frames of a patch. step: frames from one patch to the next. factor:
    multiplies the channels of every layer but the last.
    """

    seconds: float = 10.0
    patch: int = 64
    step: int = 8
    factor: float = 0.5

    def __post_init__(self) -> None:
        """Check patches and factor."""
        super().__post_init__()
        if self.patch < 1 or self.step < 1 or not 0 < self.factor <= 4:
            raise ValueError(
                f"patch={self.patch}, step={self.step}, factor={self.factor:g}: expected patch and step of at least 1 "
                "and 0 < factor <= 4"
            )

    @property
    def dim(self) -> int:
        """Dimension of the embedding."""
        return channels(LAST, max(1.0, self.factor))

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window; fewer frames than a patch are repeated."""
        return self.n_fft


def channels(width: int, factor: float) -> int:
    """Width times factor, rounded to a multiple of 8: at least 8 and at least 90 % of the product."""
    product = width * factor
    rounded = max(8, int(product + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * product else rounded


class InvertedResidual(nn.Module):
    """1 x 1 to more channels, depthwise 3 x 3, 1 x 1 back without activation; plus the input where shapes agree."""

    def __init__(self, width: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = width * expansion
        expand = [_conv(width, wide)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand, _conv(wide, wide, kernel=3, stride=stride, groups=wide), _conv(wide, out, active=False)
        )
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, mel, frame)."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


def _conv(
    width: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if `active`, ReLU6."""
    conv = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(conv, nn.BatchNorm2d(out), *([nn.ReLU6()] if active else []))


def trunk(factor: float) -> nn.Sequential:
    """Images (batch, 3, height, width) to maps of 1/32 of the size with `channels(LAST, max(1, factor))` channels."""
    width = channels(STEM, factor)
    layers: list[nn.Module] = [_conv(COPIES, width, kernel=3, stride=2)]
    for expansion, out, repeats, stride in BLOCKS:
        for i in range(repeats):
            layers.append(InvertedResidual(width, channels(out, factor), expansion, stride if i == 0 else 1))
            width = channels(out, factor)
    return nn.Sequential(*layers, _conv(width, channels(LAST, max(1.0, factor))))


class MobileNetV2Net(LogMelNet):
    """Log-mel to (batch, 1, dim)."""

    def __init__(self, config: MobileNetV2Config) -> None:
        super().__init__(config)
        self.trunk = trunk(config.factor)

    def forward(self, S: Tensor) -> Tensor:
        """Return one branch."""
        parts = patches(scaled(S), self.config.patch, self.config.step)
        images = parts.flatten(0, 1)[:, None].expand(-1, COPIES, -1, -1)
        z: Tensor = self.trunk(images).mean(dim=(2, 3))
        return z.view(*parts.shape[:2], -1).mean(dim=1, keepdim=True)


class MobileNetV2(TrainedEmbedder):
    """Embedder: a trained MobileNetV2."""

    name: ClassVar[str] = "mobilenetv2"
    config_type: ClassVar[type] = MobileNetV2Config
    network_type: ClassVar[type[nn.Module]] = MobileNetV2Net
