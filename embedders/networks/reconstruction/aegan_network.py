"""Networks of `aegan`: a generator (block to code and back) and a discriminator (block to embedding and score).

Layers of AEGAN-AD (Jiang et al., ICASSP 2023), in the variant with layer norms over channels, mels and frames.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from embedders.networks.frames import LEVEL_DB, SPREAD_DB, LogMelNet, patches
from embedders.spectrogram import MelConfig

HALVINGS = 5
"""Strided convolutions; each halves a block and doubles the channels of the one before."""

SLOPE = 0.2  # of the leaky ReLUs for negative input
INITIAL_STD = 0.02  # of random convolution weights, as in DCGAN


@dataclass(frozen=True, kw_only=True)
class AEGANConfig(MelConfig):
    """A log-mel front end and its networks.

    seconds: length of training crops. frames: frames of a block. step: frames from one block to the next. width:
    channels of the first convolution. latent: size of a block's code. match_mean, match_std: weights of the mean
    squared difference between the means (standard deviations) of the discriminator's embeddings of blocks and of
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
        """Check that blocks can be halved, layers are not empty and weights are not negative."""
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
        """Dimension of the discriminator's embedding."""
        return self.width << HALVINGS - 1

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window; fewer frames than a block are repeated."""
        return self.n_fft

    @property
    def sizes(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height and width of a block, then after every halving."""
        halved = [(self.width << i, self.n_mels >> i + 1, self.frames >> i + 1) for i in range(HALVINGS)]
        return (1, self.n_mels, self.frames), *halved


def _halving(config: AEGANConfig) -> nn.Sequential:
    """Blocks (n, 1, mel, frame) to maps (n, dim, mel / 32, frame / 32)."""
    layers: list[nn.Module] = []
    for size, halved in pairwise(config.sizes):
        layers += [nn.Conv2d(size[0], halved[0], 4, 2, 1, bias=False), nn.LayerNorm(halved), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class Generator(nn.Module):
    """Blocks to codes (n, latent, 1, 1) and back."""

    def __init__(self, config: AEGANConfig) -> None:
        super().__init__()
        sizes = config.sizes[::-1]
        map_size = sizes[0][1:]
        self.encode = nn.Sequential(_halving(config), nn.Conv2d(config.dim, config.latent, map_size, bias=False))
        layers: list[nn.Module] = [nn.ConvTranspose2d(config.latent, config.dim, map_size, bias=False)]
        for size, doubled in pairwise(sizes):
            layers += [nn.LayerNorm(size), nn.ReLU(), nn.ConvTranspose2d(size[0], doubled[0], 4, 2, 1, bias=False)]
        self.decode = nn.Sequential(*layers, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct blocks: (n, 1, mel, frame), values in [-1, 1]."""
        reconstruction: Tensor = self.decode(self.encode(x))
        return reconstruction


class Discriminator(nn.Module):
    """Blocks to embeddings (n, dim) and to scores (n,), which are high for recorded blocks."""

    def __init__(self, config: AEGANConfig) -> None:
        super().__init__()
        dim = config.dim
        gather = nn.Conv2d(dim, dim, config.sizes[-1][1:], groups=dim, bias=False)
        self.embed = nn.Sequential(_halving(config), gather, nn.Flatten())
        self.judge = nn.Sequential(nn.LayerNorm(dim), nn.LeakyReLU(SLOPE), nn.Linear(dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Score blocks: (n,)."""
        score: Tensor = self.judge(self.embed(x))
        return score[:, 0]


class AEGANNet(LogMelNet):
    """Log-mel to the residual of every frame of every block: (batch, blocks * frames, mel) in dB."""

    config: AEGANConfig
    low: Tensor
    high: Tensor

    def __init__(self, config: AEGANConfig) -> None:
        super().__init__(config)
        self.generator, self.discriminator = Generator(config), Discriminator(config)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=INITIAL_STD)
        self.register_buffer("low", torch.tensor(LEVEL_DB - SPREAD_DB))
        self.register_buffer("high", torch.tensor(LEVEL_DB + SPREAD_DB))

    def blocks(self, S: Tensor) -> Tensor:
        """Cut into blocks (batch * blocks, 1, mel, frame); the range of the training batches so far becomes [-1, 1]."""
        if self.training:
            self.low.copy_(torch.minimum(self.low, S.amin()))
            self.high.copy_(torch.maximum(self.high, S.amax()))
        scaled = (2 * S - self.low - self.high) / (self.high - self.low)
        return patches(scaled, self.config.frames, self.config.step).flatten(0, 1)[:, None]

    def forward(self, S: Tensor) -> Tensor:
        """Return reconstruction minus input."""
        x = self.blocks(S)
        residual: Tensor = (self.generator(x) - x) * (self.high - self.low) / 2
        return residual.transpose(2, 3).reshape(len(S), -1, self.config.n_mels)
