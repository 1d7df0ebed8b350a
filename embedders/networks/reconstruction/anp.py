"""`anp`: an attentive neural process that predicts parts of the log-mel from the others, twice.

Attentive neural processes (Kim et al., ICLR 2019) for anomalous sounds: Wichern et al., "Anomalous sound detection
using attentive neural processes", WASPAA 2021. A block of the log-mel is cut into tiles. Tiles of the context are known
by values and coordinates, target tiles by coordinates alone. A first pass predicts every tile from others; in the
second pass ("Boot") the tiles with the largest errors of a block are predicted together, so that none of them is
context of another. The store gets the residual views of `ae`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.frames import SPREAD_DB, LogMelNet, gaussian, log_density, patches, scaled
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.trained import TrainedEmbedder
from embedders.spectrogram import MelConfig

PERIODS = (1.0, 2.0, 4.0)  # half waves over a block, by which coordinates are encoded


@dataclass(frozen=True, kw_only=True)
class ANPConfig(MelConfig):
    """A log-mel front end and its network.

    seconds: length of training crops. frames: frames of a block. step: frames from one block to the next. tile_mels,
    tile_frames: size of a tile. width, heads: of the attention layers. folds: a target is one of this many parts of the
    tiles of a block.
    """

    seconds: float = 10.0
    frames: int = 32
    step: int = 16
    tile_mels: int = 16
    tile_frames: int = 4
    width: int = 128
    heads: int = 4
    folds: int = 4

    def __post_init__(self) -> None:
        """Check that tiles divide a block, folds its tiles and heads the width."""
        super().__post_init__()
        least = min(self.frames, self.step, self.tile_mels, self.tile_frames, self.width, self.heads)
        if least < 1 or self.n_mels % self.tile_mels or self.frames % self.tile_frames:
            raise ValueError(
                f"n_mels={self.n_mels}, frames={self.frames}, tile_mels={self.tile_mels}, tile_frames="
                f"{self.tile_frames}: expected tiles that divide a block"
            )
        if self.width % self.heads or self.folds < 2 or self.tiles % self.folds:
            raise ValueError(
                f"width={self.width}, heads={self.heads}, folds={self.folds}: expected heads that divide the width and "
                f"at least 2 folds that divide the {self.tiles} tiles of a block"
            )

    @property
    def tiles(self) -> int:
        """Tiles of a block."""
        return (self.n_mels // self.tile_mels) * (self.frames // self.tile_frames)

    @property
    def dim(self) -> int:
        """Columns of each view."""
        return self.n_mels

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window; fewer frames than a block are repeated."""
        return self.n_fft


class ANPNet(LogMelNet):
    """Log-mel to the residual of every frame of every block: (batch, blocks * frames, mel) in dB."""

    coordinates: Tensor

    def __init__(self, config: ANPConfig) -> None:
        super().__init__(config)
        values, width = config.tile_mels * config.tile_frames, config.width
        self.register_buffer("coordinates", encoded_coordinates(config), persistent=False)
        places = self.coordinates.shape[1]
        self.query = nn.Sequential(nn.Linear(places, width), nn.ReLU(), nn.Linear(width, width))
        self.encode = nn.Sequential(
            nn.Linear(values + places, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.TransformerEncoderLayer(width, config.heads, 2 * width, dropout=0.0, batch_first=True),
        )
        self.attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.decode = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 2 * values))

    def cut(self, S: Tensor) -> Tensor:
        """Scaled tiles (block, tile, value) of all blocks of S (batch, mel, frame)."""
        c = self.config
        blocks = patches(scaled(S), c.frames, c.step, last=True).flatten(0, 1)
        tiles = blocks.reshape(len(blocks), -1, c.tile_mels, c.frames // c.tile_frames, c.tile_frames)
        return tiles.transpose(2, 3).flatten(3).flatten(1, 2)

    def join(self, tiles: Tensor) -> Tensor:
        """Inverse of `cut` for each block: (block, frame, mel)."""
        c = self.config
        parts = tiles.reshape(len(tiles), -1, c.frames // c.tile_frames, c.tile_mels, c.tile_frames)
        return parts.permute(0, 2, 4, 1, 3).flatten(3).flatten(1, 2)

    def predict(self, tiles: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the target tiles, and their negative log likelihoods: both (block, target, value).

        order: numbers of all tiles of each block (block, tile), those of the target first; the others are the context.
        """
        n = self.config.tiles // self.config.folds
        target, context = order[:, :n], order[:, n:]
        known = torch.take_along_dim(tiles, context[..., None], dim=1)
        hidden = self.encode(torch.cat([known, self.coordinates[context]], dim=2))
        place = self.query(self.coordinates)
        attended, _ = self.attention(place[target], place[context], hidden, need_weights=False)
        overall = hidden.mean(dim=1, keepdim=True).expand_as(attended)
        mean, spread = self.decode(torch.cat([attended, place[target], overall], dim=2)).chunk(2, dim=2)
        truth = torch.take_along_dim(tiles, target[..., None], dim=1)
        density = gaussian(mean, spread)
        return density.mean, -log_density(density, truth)

    def orders(self, n: int) -> list[Tensor]:
        """Order of the tiles of n blocks for each fold as the target, always the same: (n, tile)."""
        order = torch.randperm(self.config.tiles, generator=torch.Generator().manual_seed(0))
        size = len(order) // self.config.folds
        turned = (torch.roll(order, -i * size) for i in range(self.config.folds))
        return [order.to(self.coordinates.device).expand(n, -1) for order in turned]

    def surprise(self, S: Tensor) -> Tensor:
        """Mean negative log likelihood of a target: a random one in training, otherwise always the same."""
        tiles = self.cut(S)
        order = self.orders(len(tiles))[0]
        if self.training:  # the generator of the step
            order = torch.randperm(self.config.tiles).to(order.device).expand(len(tiles), -1)
        return self.predict(tiles, order)[1].mean()

    def forward(self, S: Tensor) -> Tensor:
        """Return prediction minus input after both passes."""
        tiles = self.cut(S)
        predicted, errors = torch.empty_like(tiles), tiles.new_empty(tiles.shape[:2])
        size = self.config.tiles // self.config.folds
        for order in self.orders(len(tiles)):
            mean, nll = self.predict(tiles, order)
            predicted.scatter_(1, order[:, :size, None].expand_as(mean), mean)
            errors.scatter_(1, order[:, :size], nll.mean(dim=2))
        worst = errors.argsort(dim=1, descending=True, stable=True)
        mean, _ = self.predict(tiles, worst)
        predicted.scatter_(1, worst[:, :size, None].expand_as(mean), mean)
        return SPREAD_DB * self.join(predicted - tiles).reshape(len(S), -1, self.config.n_mels)


def encoded_coordinates(config: ANPConfig) -> Tensor:
    """Sines and cosines of the place of every tile in its block, by mel then by time: (tile, 4 * periods)."""
    rows = torch.linspace(0, 1, config.n_mels // config.tile_mels)
    columns = torch.linspace(0, 1, config.frames // config.tile_frames)
    angles = torch.pi * torch.cartesian_prod(rows, columns)[..., None] * torch.tensor(PERIODS)
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)


class Completed(Reconstruct):
    """Reconstruction trained by the likelihood of the target tiles."""

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean negative log likelihood in nats per value; labels are not used."""
        network: Any = self.network
        loss: Tensor = network.surprise(*features)
        return loss


class ANP(TrainedEmbedder):
    """Embedder: residual views of the neural process."""

    name: ClassVar[str] = "anp"
    code_version: ClassVar[int] = 2  # 2: frames left over at the end are one more patch
    config_type: ClassVar[type] = ANPConfig
    network_type: ClassVar[type[nn.Module]] = ANPNet
    objective_type: ClassVar[type[Reconstruct]] = Completed
