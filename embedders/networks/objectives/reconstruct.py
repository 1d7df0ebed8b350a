"""A network that reconstructs frames: three statistics of its residual."""

from typing import ClassVar

import torch
from torch import Tensor

from embedders.networks.objectives.names import Features
from embedders.networks.objectives.objective import Objective


class Reconstruct(Objective):
    """A network trained to reconstruct frames; its vectors are three statistics of the residual, over mels.

    residual: mean residual of all frames. squared: mean squared residual; its mean is the clip's mean squared error.
    weighted: squared residuals with frames weighted by the rank of their error (GWRP); its mean is the weighted error.
    """

    views: ClassVar[tuple[str, ...]] = ("residual", "squared", "weighted")
    decay = 0.99

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean squared error; labels are not used."""
        residual: Tensor = self.network(*features).float()
        return residual.square().mean()

    def vectors(self, features: Features, output: str) -> Tensor:
        """Three statistics of the residual: (batch, 3, mel)."""
        return self.statistics(self.network(*features).float())

    def statistics(self, residual: Tensor) -> Tensor:
        """Three statistics (batch, 3, column) of residuals (batch, position, column)."""
        squared = residual.square()
        return torch.stack([residual.mean(1), squared.mean(1), ranked_mean(squared, self.decay)], dim=1)


def ranked_mean(errors: Tensor, decay: float) -> Tensor:
    """Mean (batch, column) of errors (batch, position, column); the position of rank r has the weight decay ** r.

    Ranks start at the position with the largest error (GWRP).
    """
    rank = errors.mean(dim=2).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    weight = decay ** rank.double()
    weight = (weight / weight.sum(dim=1, keepdim=True)).float()
    return (weight[..., None] * errors).sum(dim=1)
