"""What networks with several branches over spectrogram-like channels share (`sw_wavenet`, `estm`)."""

from dataclasses import dataclass

from torch import Tensor, nn

from embedders.networks.classifiers.channels import ChannelConfig, Channels
from embedders.networks.objectives.names import Features


@dataclass(frozen=True, kw_only=True)
class BranchConfig(ChannelConfig):
    """dim: dimension of the embedding; every branch makes an equal part of it."""

    def __post_init__(self) -> None:
        """Check that the embedding can be divided."""
        super().__post_init__()
        if self.dim % self.branches:
            raise ValueError(f"dim={self.dim}: expected a multiple of {self.branches}, the number of branches")

    @property
    def branches(self) -> int:
        """Number of branches."""
        return 2

    @property
    def branch_dim(self) -> int:
        """Columns of the embedding that one branch makes."""
        return self.dim // self.branches


class BranchNet(nn.Module):
    """Base of networks that read stacked channels."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.config = config
        self.channels = Channels(config)

    def front(self, waves: Tensor) -> Features:
        """Compute the wave and its log-mel; no parameters."""
        return self.channels.front(waves)
