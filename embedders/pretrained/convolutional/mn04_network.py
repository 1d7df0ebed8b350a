"""The network of mn04: MobileNetV3-large (Howard et al., ICCV 2019) at width 0.4 on log-mel spectrograms.

Trained by distillation on AudioSet (Schmid et al., "Efficient Large-scale Audio Tagging via Transformer-to-CNN
Knowledge Distillation", ICASSP 2023). Spectrograms (batch, 1, mel, frame) -> stem, 15 blocks, a pointwise layer
(`features`, 0 to 16) -> classifier. Modules have the names of the published checkpoint.
"""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from embedders.pretrained.convolutional.mn04_front_end import N_MELS

WIDTH = 0.4
STEM, CLASSIFIER, N_CLASSES = 16, 1280, 527  # channels at width 1, and names of AudioSet
MULTIPLE = 8  # of which every number of channels is one
SQUEEZE = 4
BATCH_NORM_EPS = 1e-3


@dataclass(frozen=True)
class BlockConfig:
    """One row of the table of MobileNetV3, in channels at width 1."""

    kernel: int
    expanded: int
    channels: int
    squeezes: bool
    activation: type[nn.Module]
    stride: int


BLOCKS = (
    BlockConfig(3, 16, 16, False, nn.ReLU, 1),
    BlockConfig(3, 64, 24, False, nn.ReLU, 2),
    BlockConfig(3, 72, 24, False, nn.ReLU, 1),
    BlockConfig(5, 72, 40, True, nn.ReLU, 2),
    BlockConfig(5, 120, 40, True, nn.ReLU, 1),
    BlockConfig(5, 120, 40, True, nn.ReLU, 1),
    BlockConfig(3, 240, 80, False, nn.Hardswish, 2),
    BlockConfig(3, 200, 80, False, nn.Hardswish, 1),
    BlockConfig(3, 184, 80, False, nn.Hardswish, 1),
    BlockConfig(3, 184, 80, False, nn.Hardswish, 1),
    BlockConfig(3, 480, 112, True, nn.Hardswish, 1),
    BlockConfig(3, 672, 112, True, nn.Hardswish, 1),
    BlockConfig(5, 672, 160, True, nn.Hardswish, 2),
    BlockConfig(5, 960, 160, True, nn.Hardswish, 1),
    BlockConfig(5, 960, 160, True, nn.Hardswish, 1),
)


def rounded(channels: float) -> int:
    """Nearest multiple of 8, at least 8, and not more than a tenth below."""
    nearest = max(MULTIPLE, int(channels + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return nearest if nearest >= 0.9 * channels else nearest + MULTIPLE


def grids() -> tuple[tuple[int, int], ...]:
    """Bands and channels of every feature layer's output, for spectrograms of 128 mels."""
    widths = [STEM, *(block.channels for block in BLOCKS), 6 * BLOCKS[-1].channels]
    strides = [2, *(block.stride for block in BLOCKS), 1]
    bands = accumulate(strides, lambda n, stride: -(-n // stride), initial=N_MELS)
    return tuple((n, rounded(width * WIDTH)) for n, width in zip(list(bands)[1:], widths, strict=True))


def convolution(
    channels: int, out: int, activation: type[nn.Module] | None, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation and activation; the input is padded so that stride 1 keeps its size."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=BATCH_NORM_EPS),
    ]
    return nn.Sequential(*layers, *([activation(inplace=True)] if activation else []))


class ChannelGate(nn.Module):
    """Squeeze-excitation: the factor of each channel, in [0, 1], from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels / SQUEEZE)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (batch, channel, band, time)."""
        factor: Tensor = self.fc2(self.fc1(x.mean(dim=(2, 3))).relu()).sigmoid()
        return x * factor[:, :, None, None]


class Excitation(nn.Module):
    """Largest of the gated inputs; there is a single gate, over channels (published variants also have others)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([ChannelGate(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (batch, channel, band, time)."""
        y: Tensor = self.conc_se_layers[0](x)
        return y


class Block(nn.Module):
    """Inverted residual block: expand (if wider), convolve each channel, gate, project; a skip where sizes agree."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        wide, out, activation = rounded(config.expanded * WIDTH), rounded(config.channels * WIDTH), config.activation
        layers: list[nn.Module] = []
        if wide != channels:
            layers.append(convolution(channels, wide, activation))
        layers.append(convolution(wide, wide, activation, kernel=config.kernel, stride=config.stride, groups=wide))
        if config.squeezes:
            layers.append(Excitation(wide))
        layers.append(convolution(wide, out, None))
        self.block = nn.Sequential(*layers)
        self.skips = config.stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Transform x (batch, channel, band, time)."""
        y: Tensor = self.block(x)
        return y + x if self.skips else y


class MN04Network(nn.Module):
    """Spectrograms to the outputs of all feature layers, and to the logits of AudioSet's classes."""

    def __init__(self) -> None:
        super().__init__()
        stem, *widths, last = (channels for _, channels in grids())
        self.features = nn.Sequential(
            convolution(1, stem, nn.Hardswish, kernel=3, stride=2),
            *(Block(n, config) for n, config in zip([stem, *widths[:-1]], BLOCKS, strict=True)),
            convolution(widths[-1], last, nn.Hardswish),
        )
        hidden = rounded(CLASSIFIER * WIDTH)
        # The published module averages, flattens and drops out at the numbers that are left out.
        self.classifier = nn.Sequential(
            OrderedDict({"2": nn.Linear(last, hidden), "3": nn.Hardswish(), "5": nn.Linear(hidden, N_CLASSES)})
        )

    def states(self, S: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        """Outputs (batch, channel, band, time) of chosen feature layers of spectrograms (batch, mel, frame)."""
        x, seen = S[:, None], {}
        for layer, module in enumerate(islice(self.features, max(layers) + 1)):
            x = module(x)
            if layer in layers:
                seen[layer] = x
        return [seen[layer] for layer in layers]

    def forward(self, S: Tensor) -> Tensor:
        """Logits (batch, class) of spectrograms (batch, mel, frame)."""
        logits: Tensor = self.classifier(self.features(S[:, None]).mean(dim=(2, 3)))
        return logits


def fold_normalisation(network: nn.Module) -> None:
    """Merge every batch normalisation into the convolution before it: equal outputs, in evaluation mode only."""
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
            module[0], module[1] = fuse_conv_bn_eval(cast(nn.Conv2d, module[0]), module[1]), nn.Identity()
