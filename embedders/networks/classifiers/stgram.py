"""`stgram`: log-mel and learned channels into MobileFaceNet (STgram-MFN and its successors).

Clips may have any length: the last kernel of MobileFaceNet is stored for `seconds` and interpolated.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.classifiers.channels import ChannelConfig, Channels
from embedders.networks.classifiers.mobilefacenet import BOTTLENECKS, MobileFaceNet
from embedders.networks.objectives.names import Features
from embedders.networks.trained import TrainedEmbedder


@dataclass(frozen=True, kw_only=True)
class STgramConfig(ChannelConfig):
    """bottlenecks: "slim" or "2021". head: "none", "projector" (CLP-SCF) or "perturbation" (OS-SCL, unit length)."""

    bottlenecks: str = "slim"
    head: str = "none"

    def __post_init__(self) -> None:
        """Check the names of bottlenecks and head."""
        super().__post_init__()
        for key, known in (("bottlenecks", BOTTLENECKS), ("head", HEADS)):
            if getattr(self, key) not in known:
                raise ValueError(f"unknown {key} {getattr(self, key)!r}; choose from {', '.join(known)}")


class STgramNet(nn.Module):
    """Stacked channels, MobileFaceNet and head: features to (batch, 1, dim)."""

    def __init__(self, config: STgramConfig) -> None:
        super().__init__()
        self.channels = Channels(config)
        self.trunk = MobileFaceNet(
            len(config.channels),
            bottlenecks=config.bottlenecks,
            mels=config.n_mels,
            frames=config.frames,
            dim=config.dim,
        )
        self.head = HEADS[config.head](config.dim)

    def front(self, waves: Tensor) -> Features:
        """Compute the wave and its log-mel; no parameters."""
        return self.channels.front(waves)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return one branch."""
        z: Tensor = self.head(self.trunk(self.channels(waves, S)))
        return z[:, None]


class Perturbation(nn.Module):
    """OS-SCL's head: reduce to half the width, expand again, scale to unit length."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        self.layers = nn.Sequential(
            nn.Linear(dim, half), nn.ReLU(), nn.BatchNorm1d(half), nn.Linear(half, dim), nn.ReLU(), nn.BatchNorm1d(dim)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return unit vectors."""
        return F.normalize(self.layers(z), dim=-1)


def _identity(dim: int) -> nn.Module:
    return nn.Identity()


def _projector(dim: int) -> nn.Module:
    """The part of CLP-SCF's projector that stays after pre-training."""
    return nn.Sequential(nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim))


HEADS = {"none": _identity, "projector": _projector, "perturbation": Perturbation}


class STgram(TrainedEmbedder):
    """Embedder: a trained STgram network."""

    name: ClassVar[str] = "stgram"
    config_type: ClassVar[type] = STgramConfig
    network_type: ClassVar[type[nn.Module]] = STgramNet
