"""A network that reconstructs frames: three statistics of its residual."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.objectives.names import Features


class Reconstruct(nn.Module):
    """A network trained to reconstruct frames; its vectors are three statistics of the residual, over mels.

    residual: mean residual of all frames. squared: mean squared residual; its mean is the clip's mean squared error.
    weighted: squared residuals with frames weighted by the rank of their error (GWRP); its mean is the weighted error.
    """

    views: ClassVar[tuple[str, ...]] = ("residual", "squared", "weighted")
    outputs: ClassVar[tuple[str, ...]] = ("embedding",)
    labels: ClassVar[str] = ""
    """Definition of a class where the objective has one of its own, as in `training.labels`."""
    decay = 0.99

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network

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
        rank = squared.mean(dim=2).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        weight = self.decay ** rank.double()
        weight = (weight / weight.sum(dim=1, keepdim=True)).float()
        return torch.stack([residual.mean(1), squared.mean(1), (weight[..., None] * squared).sum(1)], dim=1)
