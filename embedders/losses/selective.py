"""SCAN's selective contrastive loss: only clips near the geometric median of the training set form positive pairs."""

import math
from collections.abc import Mapping

import torch
from scipy.stats import chi2
from torch import Tensor

from embedders.losses.base import Loss, first_class, precise
from embedders.losses.contrastive import contrast, same_class

SHRINKAGE = 1e-3  # share of the mean variance added to each variance: with few clips the covariance is singular


class SelectiveContrastive(Loss):
    """Contrastive loss of same-class pairs near the geometric median of the training set; Liu et al. 2025.

    Both clips of a pair must have a squared Mahalanobis distance to the median of at most
    chi2_dim(1 - alpha) (1 - 1 / ln(epoch + epsilon)), which grows from 0 with the default epsilon; `update` counts
    epochs from 0. In the first `warmup` epochs, and before any `update`, all pairs count. The paper prints the
    temperature as 0.007, which may be a misprint of 0.07.
    """

    epochwise = True

    def __init__(
        self,
        n_classes: int,
        dim: int,
        temperature: float = 0.07,
        *,
        alpha: float = 0.05,
        epsilon: float = math.e,
        warmup: int = 10,
    ) -> None:
        super().__init__(n_classes, dim)
        if not (temperature > 0 and 0 < alpha < 1 and epsilon >= math.e and warmup >= 0):
            raise ValueError(
                f"temperature={temperature}, alpha={alpha}, epsilon={epsilon}, warmup={warmup}: expected temperature "
                "> 0, 0 < alpha < 1, epsilon >= e (a smaller one makes the bound negative) and warmup >= 0"
            )
        self.temperature = temperature
        self.alpha = alpha
        self.epsilon = epsilon
        self.warmup = warmup
        self.centre: Tensor
        self.precision: Tensor
        self.epoch: Tensor
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("precision", torch.eye(dim))
        self.register_buffer("epoch", torch.tensor(-1))

    @torch.no_grad()
    def update(self, Z: Tensor) -> None:
        """Learn centre and covariance of the training embeddings Z (n, dim) and start the next epoch."""
        Z = Z.to(self.centre.device, torch.float64)
        centre = geometric_median(Z)
        covariance = (Z - centre).T @ (Z - centre) / len(Z)
        ridge = SHRINKAGE * covariance.diagonal().mean().clamp_min(torch.finfo(torch.float32).tiny)
        covariance += ridge * torch.eye(self.dim, dtype=Z.dtype, device=Z.device)
        self.centre.copy_(centre)
        self.precision.copy_(torch.linalg.inv(covariance))
        self.epoch += 1

    def bound(self) -> float:
        """Largest squared distance of a trusted clip in this epoch; infinite during warm-up."""
        epoch = int(self.epoch)
        if epoch < max(self.warmup, 0):
            return math.inf
        return float(chi2.ppf(1 - self.alpha, self.dim)) * (1 - 1 / math.log(epoch + self.epsilon))

    def confident(self, z: Tensor) -> Tensor:
        """Which clips of z (batch, dim) are trusted: bool (batch,)."""
        offset = precise(z).detach() - self.centre
        return torch.einsum("bi,ij,bj->b", offset, self.precision, offset) <= self.bound()

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        trusted = self.confident(z)
        positive = same_class(first_class(target, extra)) & trusted[:, None] & trusted
        losses = contrast(z, positive, self.temperature)
        return losses.sum() / positive.any(dim=1).sum().clamp_min(1)


def geometric_median(Z: Tensor, *, n_steps: int = 200, tolerance: float = 1e-9) -> Tensor:
    """Point with the least summed distance to the rows of Z (n, dim): (dim,), by Weiszfeld's iteration from their mean.

    Stops after n_steps, or when a step is shorter than `tolerance` times the mean distance of the rows.
    """
    if not len(Z):
        raise ValueError("the geometric median needs at least one row, got none")
    median = Z.mean(dim=0)
    for _ in range(n_steps):
        distance = (Z - median).norm(dim=1)
        spread = distance.mean()
        if not spread > 0:
            break
        weight = 1 / distance.clamp_min(spread * 1e-12)  # a row equal to the median would have infinite weight
        following = (weight[:, None] * Z).sum(dim=0) / weight.sum()
        step = (following - median).norm()
        median = following
        if step <= tolerance * spread:
            break
    return median
