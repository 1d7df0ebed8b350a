"""Networks of `aegan`: blocks of the log-mel spectrogram to codes and back, and to embeddings that tell the two apart.

Layers of AEGAN-AD (Jiang et al., ICASSP 2023), in its variant with layer norms over channels, mels and frames.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from embedders.networks.reconstruction import LEVEL_DB, SPREAD_DB, patches
from embedders.networks.trained import Features
from embedders.spectrogram import MelConfig, log_mel

HALVINGS = 5
"""Convolutions that halve a block, each with twice the channels of the one before."""

SLOPE = 0.2  # of leaky ReLUs
INITIAL = 0.02  # deviation of the first weights of convolutions, as in DCGAN


@dataclass(frozen=True, kw_only=True)
class AEGANConfig(MelConfig):
    """A log-mel front end; frames, step: of a block, and from one to the next; seconds: of training crops.

    width: channels of the first convolution; latent: size of a block's code. match_mean, match_std: weights of the
    mean squared differences between mean, and standard deviation, of the discriminator's embeddings of blocks and of
    reconstructions. penalty: weight of the gradient penalty.
    """

    n_fft: int = 2048
    top_db: float | None = 80.0
    seconds: float = 10.0
    frames: int = 128
    step: int = 16
    width: int = 32
    latent: int = 256
    match_mean: float = 1.0
    match_std: float = 0.0
    penalty: float = 10.0

    def __post_init__(self) -> None:
        """Refuse blocks that cannot be halved, empty layers, and weights below zero."""
        super().__post_init__()
        least = 2**HALVINGS
        if self.frames < least or self.frames % least or self.n_mels % least:
            raise ValueError(f"frames={self.frames}, n_mels={self.n_mels}: expected multiples of {least}")
        if min(self.step, self.width, self.latent) < 1:
            raise ValueError(f"step={self.step}, width={self.width}, latent={self.latent}: expected at least 1")
        if not min(self.match_mean, self.match_std, self.penalty) >= 0:
            raise ValueError(
                f"match_mean={self.match_mean:g}, match_std={self.match_std:g}, penalty={self.penalty:g}: expected 0 "
                "or more"
            )

    @property
    def dim(self) -> int:
        """Columns of the discriminator's embedding."""
        return self.width << HALVINGS - 1

    @property
    def min_samples(self) -> int:
        """Shortest wave: one window; frames fewer than a block are repeated."""
        return self.n_fft

    @property
    def sizes(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height and width of a block and after every halving."""
        halved = [(self.width << i, self.n_mels >> i + 1, self.frames >> i + 1) for i in range(HALVINGS)]
        return (1, self.n_mels, self.frames), *halved


def _halving(config: AEGANConfig) -> nn.Sequential:
    """Blocks (n, 1, mel, frame) to maps (n, dim, mel / 32, frame / 32)."""
    layers: list[nn.Module] = []
    for one, two in pairwise(config.sizes):
        layers += [nn.Conv2d(one[0], two[0], 4, 2, 1, bias=False), nn.LayerNorm(two), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class Generator(nn.Module):
    """Blocks to codes (n, latent, 1, 1) and back."""

    def __init__(self, config: AEGANConfig) -> None:
        super().__init__()
        sizes = config.sizes[::-1]
        map_size = sizes[0][1:]
        self.encode = nn.Sequential(_halving(config), nn.Conv2d(config.dim, config.latent, map_size, bias=False))
        layers: list[nn.Module] = [nn.ConvTranspose2d(config.latent, config.dim, map_size, bias=False)]
        for one, two in pairwise(sizes):
            layers += [nn.LayerNorm(one), nn.ReLU(), nn.ConvTranspose2d(one[0], two[0], 4, 2, 1, bias=False)]
        self.decode = nn.Sequential(*layers, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions (n, 1, mel, frame) within -1 to 1."""
        made: Tensor = self.decode(self.encode(x))
        return made


class Discriminator(nn.Module):
    """Blocks to embeddings (n, dim), and to scores (n,) that are high for what was recorded."""

    def __init__(self, config: AEGANConfig) -> None:
        super().__init__()
        dim = config.dim
        gather = nn.Conv2d(dim, dim, config.sizes[-1][1:], groups=dim, bias=False)
        self.embed = nn.Sequential(_halving(config), gather, nn.Flatten())
        self.judge = nn.Sequential(nn.LayerNorm(dim), nn.LeakyReLU(SLOPE), nn.Linear(dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        score: Tensor = self.judge(self.embed(x))
        return score[:, 0]


class AEGANNet(nn.Module):
    """Log-mel to residuals of every frame of every block, (batch, blocks * frames, mel) in dB."""

    low: Tensor
    high: Tensor

    def __init__(self, config: AEGANConfig) -> None:
        super().__init__()
        self.config = config
        self.generator, self.discriminator = Generator(config), Discriminator(config)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=INITIAL)
        self.register_buffer("low", torch.tensor(LEVEL_DB - SPREAD_DB))
        self.register_buffer("high", torch.tensor(LEVEL_DB + SPREAD_DB))

    def front(self, waves: Tensor) -> Features:
        """Log-mel (batch, mel, frame) in dB."""
        return (log_mel(waves, self.config).transpose(1, 2),)

    def blocks(self, S: Tensor) -> Tensor:
        """Blocks (batch * blocks, 1, mel, frame), -1 to 1 over the range of the training clips as far as seen."""
        if self.training:
            self.low.copy_(torch.minimum(self.low, S.amin()))
            self.high.copy_(torch.maximum(self.high, S.amax()))
        scaled = (2 * S - self.low - self.high) / (self.high - self.low)
        return patches(scaled, self.config.frames, self.config.step).flatten(0, 1)[:, None]

    def forward(self, S: Tensor) -> Tensor:
        """Reconstruction minus input."""
        x = self.blocks(S)
        residual: Tensor = (self.generator(x) - x) * (self.high - self.low) / 2
        return residual.transpose(2, 3).reshape(len(S), -1, self.config.n_mels)
