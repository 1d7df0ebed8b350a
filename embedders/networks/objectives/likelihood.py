"""A network that gives the negative log likelihood of every value: two statistics of it."""

from typing import ClassVar

import torch
from torch import Tensor

from embedders.networks.objectives.names import Features
from embedders.networks.objectives.reconstruct import Reconstruct, ranked_mean


class Likelihood(Reconstruct):
    """A network trained by maximum likelihood; its vectors are two statistics over mels, in nats per value.

    The network returns negative log likelihoods (batch, position, mel). nll: their mean over positions; its mean is the
    clip's negative log likelihood per value. weighted: the same with positions weighted by the rank of theirs (GWRP).
    """

    views: ClassVar[tuple[str, ...]] = ("nll", "weighted")

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean negative log likelihood; labels are not used."""
        nll: Tensor = self.network(*features).float()
        return nll.mean()

    def vectors(self, features: Features, output: str) -> Tensor:
        """Two statistics of the negative log likelihood: (batch, 2, mel)."""
        nll = self.network(*features).float()
        return torch.stack([nll.mean(1), ranked_mean(nll, self.decay)], dim=1)
