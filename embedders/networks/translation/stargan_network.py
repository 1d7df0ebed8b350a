"""Networks of `stargan`: a generator (log-mel and code of a target class to gains) and a discriminator.

Both are convolutions over frames with the mels as channels, because a fault lies at certain frequencies.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embedders.networks.frames import LEVEL_DB, SPREAD_DB, LogMelNet, scaled
from embedders.spectrogram import MelConfig

HALVINGS = 3
"""Strided convolutions of the discriminator; each halves the frames."""

SLOPE = 0.2  # of the leaky ReLUs for negative input
SILENCE = (-100.0 - LEVEL_DB) / SPREAD_DB
"""Level of digital silence, scaled as the inputs are; no translation is lower."""

WEIGHTS = ("classify", "cycle", "identity", "match", "penalty")


@dataclass(frozen=True, kw_only=True)
class StarGANConfig(MelConfig):
    """A log-mel front end and its networks.

    seconds: length of training crops. width: channels of the generator. blocks: its residual blocks, whose dilation
    doubles. code: size of the code of a class. dim: channels of the discriminator. most_db: largest gain. classify,
    cycle, identity, match: weights of the losses, see `stargan.Translate`. penalty: weight of the gradient penalty.
    """

    n_mels: int = 64
    seconds: float = 10.0
    width: int = 64
    blocks: int = 3
    code: int = 16
    dim: int = 64
    most_db: float = 30.0
    classify: float = 1.0
    cycle: float = 10.0
    identity: float = 5.0
    match: float = 1.0
    penalty: float = 10.0

    def __post_init__(self) -> None:
        """Check that layers are not empty, gains are positive and weights are not negative."""
        super().__post_init__()
        if min(self.width, self.blocks, self.code, self.dim) < 1:
            raise ValueError(
                f"width={self.width}, blocks={self.blocks}, code={self.code}, dim={self.dim}: expected at least 1"
            )
        if not self.center or self.hop > self.n_fft // 2:
            raise ValueError(
                f"center={str(self.center).lower()}, hop={self.hop}, n_fft={self.n_fft}: recordings are filtered by "
                "frames; expected center=true and a hop of at most half of n_fft"
            )
        if not 0 < self.most_db <= 60:
            raise ValueError(f"most_db={self.most_db:g}: expected a gain above 0 and at most 60 dB")
        for name in WEIGHTS:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name):g}: expected a weight of 0 or more")

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window, and a frame for the last strided convolution."""
        return max(self.n_fft, self.hop << HALVINGS)


class Residual(nn.Module):
    """A gated convolution over frames, added to its input (batch, width, frame)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.gated = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the gated convolution."""
        added: Tensor = self.out(nn.functional.glu(self.gated(x), dim=1))
        return x + added


class Generator(nn.Module):
    """Log-mel (batch, mel, frame) and codes (batch, code) to gains in dB / SPREAD_DB; 0 with fresh weights."""

    def __init__(self, config: StarGANConfig) -> None:
        super().__init__()
        self.most = config.most_db / SPREAD_DB
        self.first = nn.Conv1d(config.n_mels + config.code, config.width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(config.width, 1 << i) for i in range(config.blocks)))
        self.last = nn.Conv1d(config.width, config.n_mels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Gains (batch, mel, frame), at most `most_db` in size."""
        inputs = torch.cat([x, code[:, :, None].expand(-1, -1, x.shape[2])], dim=1)
        gains: Tensor = self.most * torch.tanh(
            self.last(self.blocks(nn.functional.leaky_relu(self.first(inputs), SLOPE)))
        )
        return gains


class Discriminator(nn.Module):
    """Log-mel (batch, mel, frame) to maps (batch, dim, frame / 8), and to scores, high for recorded sound."""

    def __init__(self, config: StarGANConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (config.n_mels, *[config.dim] * (HALVINGS - 1)):
            layers += [nn.Conv1d(channels, config.dim, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.embed = nn.Sequential(*layers)
        self.judge = nn.Conv1d(config.dim, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Score of each clip (batch,): the mean over time."""
        score: Tensor = self.judge(self.embed(x)).mean(dim=(1, 2))
        return score


class StarGANNet(LogMelNet):
    """Log-mel to the maps of the discriminator."""

    config: StarGANConfig

    def __init__(self, config: StarGANConfig) -> None:
        super().__init__(config)
        self.generator, self.discriminator = Generator(config), Discriminator(config)

    def forward(self, S: Tensor) -> Tensor:
        """Maps (batch, dim, frame / 8) of a log-mel in dB."""
        maps: Tensor = self.discriminator.embed(scaled(S))
        return maps
