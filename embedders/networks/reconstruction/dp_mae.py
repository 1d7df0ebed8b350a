"""`dp_mae`: a vision transformer on patches of the log-mel, pre-trained by two masked autoencoders at once.

DP-MAE (Liu et al., ICASSP 2024). The patches are split at random into two halves. Each of two paths sees one half and
predicts the other; the output of each path is also a target of the other. `loss=own` is this pre-training; any other
loss trains the mean of the encoder's tokens. Layer sizes and the share of hidden patches were not published and are
ours. Recordings longer than `seconds` are encoded in parts.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.frames import LogMelNet, patches, scaled
from embedders.networks.reconstruction.patch_transformer import Decoder, Encoder, grid
from embedders.networks.trained import TrainedEmbedder
from embedders.spectrogram import MelConfig


@dataclass(frozen=True, kw_only=True)
class DPMAEConfig(MelConfig):
    """A log-mel front end, patches and transformers.

    seconds: length of training crops. patch_mels, patch_frames: size of a patch. dim, depth, heads: of the encoder.
    decoder_dim, decoder_depth: of the decoder, with the same heads. shared: one encoder for both paths; otherwise two,
    whose tokens are averaged. distill: weight of the distance of each path's output to that of the other.
    warmup: steps of rising learning rate.
    """

    seconds: float = 10.0
    patch_mels: int = 16
    patch_frames: int = 16
    dim: int = 192
    depth: int = 4
    heads: int = 3
    decoder_dim: int = 96
    decoder_depth: int = 2
    shared: bool = True
    distill: float = 0.5
    warmup: int = 0

    def __post_init__(self) -> None:
        """Check that patches and heads divide what they are parts of."""
        super().__post_init__()
        if min(self.patch_mels, self.patch_frames) < 1 or self.n_mels % self.patch_mels or self.rows < 2:
            raise ValueError(
                f"patch_mels={self.patch_mels}, patch_frames={self.patch_frames}: expected at least 1 of each, and at "
                f"least two patches that divide n_mels={self.n_mels}"
            )
        for name in ("dim", "decoder_dim"):
            width = getattr(self, name)
            if self.heads < 1 or width < 4 or width % self.heads or width % 4:
                raise ValueError(f"{name}={width}, heads={self.heads}: expected a multiple of 4 and of heads")
        if min(self.depth, self.decoder_depth) < 1 or not self.distill >= 0 or self.warmup < 0:
            raise ValueError(
                f"depth={self.depth}, decoder_depth={self.decoder_depth}, distill={self.distill}, warmup={self.warmup}:"
                " expected at least one layer of each kind, and 0 or more of the others"
            )
        if not self.seconds > 0:
            raise ValueError(f"seconds={self.seconds}: expected more than 0")

    @property
    def rows(self) -> int:
        """Patches of one time."""
        return self.n_mels // self.patch_mels

    @property
    def columns(self) -> int:
        """Times of the patches of a clip of `seconds`."""
        return math.ceil((round(self.seconds * self.sample_rate_hz) // self.hop + 1) / self.patch_frames)

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples."""
        return self.n_fft


class DPMAENet(LogMelNet):
    """Log-mel to the mean of the encoder's tokens: (batch, 1, dim)."""

    def __init__(self, config: DPMAEConfig) -> None:
        super().__init__(config)
        self.warmup = config.warmup
        area = config.patch_mels * config.patch_frames
        self.encoders = nn.ModuleList(
            Encoder(area, config.dim, config.heads, config.depth) for _ in range(1 if config.shared else 2)
        )
        self.decoder = Decoder(area, config.dim, config.decoder_dim, config.heads, config.decoder_depth)

    def tokens(self, S: Tensor, *, last: bool = True) -> Tensor:
        """Patches (batch, patch, area) of S (batch, mel, frame), those of one time after each other.

        last: where frames are left over at the end, the last patches end with the clip and overlap those before.
        """
        c = self.config
        columns = patches(scaled(S), c.patch_frames, c.patch_frames, last=last)
        return columns.reshape(len(S), -1, c.patch_mels * c.patch_frames)

    def forward(self, S: Tensor) -> Tensor:
        """Return one branch."""
        x = self.tokens(S)
        places = grid(self.config.columns, self.config.rows, self.config.dim).to(x)
        parts = torch.split(x, len(places), dim=1)
        sums = [encoder(part, places[: part.shape[1]]).sum(dim=1) for encoder in self.encoders for part in parts]
        return torch.stack(sums).sum(dim=0)[:, None] / (len(self.encoders) * x.shape[1])

    def own_loss(self, S: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Error of what each path did not see, plus `distill` times the distance between the paths' outputs.

        Both are mean squares in units of SPREAD_DB. rng: of the split; by default torch's own generator.
        """
        x = self.tokens(S, last=False)  # a path that sees part of what it has to predict could copy it
        order = torch.rand(*x.shape[:2], generator=rng).argsort(dim=1).to(x.device)
        half = x.shape[1] // 2
        first, second = (self.path(i, x, seen) for i, seen in enumerate((order[:, :half], order[:, half:])))
        unseen = torch.zeros_like(order, dtype=torch.bool).scatter(1, order[:, half:], True)
        error, distance = dual_loss(first, second, x, unseen)
        loss: Tensor = error + self.config.distill * distance
        return loss

    def path(self, i: int, x: Tensor, seen: Tensor) -> Tensor:
        """Predict all patches of x (batch, patch, area) from those with the numbers `seen` (batch, k), by path i."""
        size = x.shape[1] // self.config.rows, self.config.rows
        visible = x.gather(1, seen[:, :, None].expand(-1, -1, x.shape[2]))
        tokens = self.encoders[i % len(self.encoders)](visible, grid(*size, self.config.dim).to(x)[seen])
        values: Tensor = self.decoder(tokens, seen, grid(*size, self.config.decoder_dim).to(x))
        return values


def dual_loss(first: Tensor, second: Tensor, x: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error of what each path did not see, and mean squared distance of each output to the other's.

    first, second, x: (batch, patch, area). unseen: (batch, patch), what the first path did not see; the second did not
    see the rest. A path's output passes no gradient where it is the other's target.
    """
    first, second, x = first.float(), second.float(), x.float()
    predicted = torch.where(unseen[:, :, None], first, second)
    distance = (first - second.detach()).square().mean() + (second - first.detach()).square().mean()
    return (predicted - x).square().mean(), distance


class DPMAE(TrainedEmbedder):
    """Embedder: a trained DP-MAE encoder."""

    name: ClassVar[str] = "dp_mae"
    code_version: ClassVar[int] = 2  # 2: frames left over at the end are one more patch
    config_type: ClassVar[type] = DPMAEConfig
    network_type: ClassVar[type[nn.Module]] = DPMAENet
