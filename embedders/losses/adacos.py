"""Scaled-cosine losses with an adaptive scale: sub-cluster AdaCos, AdaCos, and AdaProj with class subspaces.

The scale follows Zhang et al. 2019, extended to sub-clusters and mixed labels by Wilkinghoff 2021; it is a buffer.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.losses.base import Classifier, soft_cross_entropy, unit

SMALLEST_SCALE = 1.0  # the formula gives 0 for two classes and negative scales if all cosines are negative
LARGEST_SCALE = 1e3  # with `count_own` the scale is unbounded once clips with hard labels are learned
SMALLEST_SQUARE = 1e-12


class SubclusterAdaCos(Classifier):
    """The posterior of a class is the sum over its `clusters` centres of softmax(s cos); Wilkinghoff 2021.

    s starts at max(1, sqrt(2) ln(n_classes clusters - 1)). With `dynamic` each training batch first sets
    s = ln(B) / cos(min(pi / 4, median angle)). B is the batch mean of the sum of exp(s cos) over all centres, where
    centres of a clip's own classes count as exp(0). The angle of a clip is the label-weighted angle to the nearest
    centre of each class. count_own: own centres count like all others, as in the published code, which always mixes
    labels; with hard labels s then grows without limit (measured: 1e17 in 400 batches), so it is clipped at 1,000.
    trainable: False keeps the random centres fixed, which spreads the classes evenly.
    """

    def __init__(
        self,
        n_classes: int,
        dim: int,
        clusters: int = 16,
        *,
        dynamic: bool = True,
        trainable: bool = True,
        count_own: bool = False,
    ) -> None:
        super().__init__(n_classes, dim)
        if clusters < 1:
            raise ValueError(f"clusters={clusters}: expected at least 1 centre per class")
        self.dynamic = dynamic
        self.count_own = count_own
        centres = nn.init.xavier_uniform_(torch.empty(n_classes * clusters, dim)).view(n_classes, clusters, dim)
        self.centres = nn.Parameter(centres, requires_grad=trainable)
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(first_scale(n_classes * clusters)))

    def cosines(self, z: Tensor) -> Tensor:
        """Cosine of each embedding with each centre: (batch, n_classes, clusters)."""
        flat = functional.linear(unit(z), unit(self.centres).flatten(0, 1))
        return flat.view(len(z), *self.centres.shape[:2])

    def _logits(self, z: Tensor) -> Tensor:
        return (self.scale * self.cosines(z)).logsumexp(dim=2)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        cosines = self.cosines(z)
        if self.dynamic and self.training:
            with torch.no_grad():
                logits = self.scale * cosines
                if not self.count_own:
                    logits = logits.masked_fill((target > 0)[:, :, None], 0.0)
                self.scale.copy_(next_scale(logits.flatten(1), mixed_angle(cosines.amax(dim=2), target)))
        return soft_cross_entropy((self.scale * cosines).logsumexp(dim=2), target)


class AdaCos(SubclusterAdaCos):
    """Sub-cluster AdaCos with one centre per class."""

    def __init__(
        self, n_classes: int, dim: int, *, dynamic: bool = True, trainable: bool = True, count_own: bool = False
    ) -> None:
        super().__init__(n_classes, dim, clusters=1, dynamic=dynamic, trainable=trainable, count_own=count_own)


class AdaProj(Classifier):
    """Each class is a subspace; its logit is s times the cosine of z with its projection on it; Wilkinghoff 2024.

    The projection is the sum of the class's `rank` unit vectors weighted by their cosines with z (as published, without
    the inverse Gram matrix). s starts at max(1, sqrt(2) ln(n_classes - 1)); with `dynamic` it adapts as in AdaCos.
    """

    def __init__(self, n_classes: int, dim: int, rank: int = 32, dynamic: bool = True, trainable: bool = False) -> None:
        super().__init__(n_classes, dim)
        if rank < 1:
            raise ValueError(f"rank={rank}: expected at least 1 dimension per class")
        self.dynamic = dynamic
        self.centres = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(n_classes * rank, dim)).view(n_classes, rank, dim),
            requires_grad=trainable,
        )
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(first_scale(n_classes)))

    def cosines(self, z: Tensor) -> Tensor:
        """Cosine of each embedding with its projection on each class: (batch, n_classes), in [0, 1]."""
        axes = unit(self.centres)
        weight = functional.linear(unit(z), axes.flatten(0, 1)).view(len(z), *axes.shape[:2])
        gram = axes @ axes.mT  # |sum_d a_d w_d|^2 = a' (W W') a, without a (batch, class, dim) array
        length = torch.einsum("bcd,cde,bce->bc", weight, gram, weight).clamp_min(SMALLEST_SQUARE).sqrt()
        product: Tensor = weight.square().sum(dim=2)
        return product / length

    def _logits(self, z: Tensor) -> Tensor:
        return self.scale * self.cosines(z)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        cosines = self.cosines(z)
        if self.dynamic and self.training:
            with torch.no_grad():
                logits = (self.scale * cosines).masked_fill(target > 0, 0.0)
                self.scale.copy_(next_scale(logits, mixed_angle(cosines, target)))
        return soft_cross_entropy(self.scale * cosines, target)


def first_scale(n_centres: int) -> float:
    """Fixed scale of AdaCos: max(1, sqrt(2) ln(n_centres - 1))."""
    return max(math.sqrt(2) * math.log(max(n_centres - 1, 1)), SMALLEST_SCALE)


def next_scale(logits: Tensor, angle: Tensor) -> Tensor:
    """Scale of AdaCos after a batch: logits (batch, n), and each clip's angle to its class (batch,) in radians."""
    mean_sum = logits.logsumexp(dim=1).logsumexp(dim=0) - math.log(len(logits))
    return (mean_sum / torch.cos(angle.quantile(0.5).clamp_max(math.pi / 4))).clamp(SMALLEST_SCALE, LARGEST_SCALE)


def mixed_angle(cosines: Tensor, target: Tensor) -> Tensor:
    """Label-weighted angle of each clip to its classes: (batch,), in radians."""
    return (target * torch.acos(cosines.clamp(-1, 1))).sum(dim=1)
