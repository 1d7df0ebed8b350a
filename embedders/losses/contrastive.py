"""Losses on pairs of clips in a batch: contrast of views or classes, alone or with ArcFace; batch-hard triplets."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.losses.base import Classifier, Loss, first_class, precise, unit
from embedders.losses.margin import ArcFace, NoisyArcMix

KHOSLA_TEMPERATURE = 0.07  # the base temperature of Khosla et al. 2020
SMALLEST_DISTANCE_SQUARED = 1e-8


class SupCon(Loss):
    """Supervised contrastive loss (Khosla et al. 2020), as in CLP-SCF's pre-training (Guan et al. 2023).

    Anchors without a positive in the batch are left out. include_self: the denominator includes each anchor's
    similarity to itself, as in CLP-SCF's code. projector: three linear layers with batch norm between z and the loss;
    `embed` uses the first, and `clp_scf` continues from it.
    """

    def __init__(
        self, n_classes: int, dim: int, temperature: float = 0.1, include_self: bool = False, projector: bool = False
    ) -> None:
        super().__init__(n_classes, dim)
        _check_temperature(temperature)
        self.temperature = temperature
        self.include_self = include_self
        self.head = nn.Sequential(*linear_norm(dim)) if projector else nn.Identity()
        rest = (nn.ReLU(), *linear_norm(dim), nn.ReLU(), *linear_norm(dim))
        self.tail = nn.Sequential(*rest) if projector else nn.Identity()

    def embed(self, z: Tensor) -> Tensor:
        """Embedding after the projector's first layer (batch, dim); z itself without a projector."""
        head: Tensor = self.head(precise(z))
        return head

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        positive = same_class(first_class(target, extra))
        losses = contrast(self.tail(self.head(z)), positive, self.temperature, include_self=self.include_self)
        return losses.sum() / positive.any(dim=1).sum().clamp_min(1)


class NTXent(Loss):
    """Contrast of two views of every clip against all other rows of the batch; Chen et al. 2020, SimCLR.

    projector: two linear layers with a ReLU between z and the loss; `embed` returns z, as in SimCLR.
    """

    needs = ("view_of",)

    def __init__(self, n_classes: int, dim: int, temperature: float = 0.1, projector: bool = True) -> None:
        super().__init__(n_classes, dim)
        _check_temperature(temperature)
        self.temperature = temperature
        layers = (nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.projector = nn.Sequential(*layers) if projector else nn.Identity()

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        return contrast(self.projector(z), same_class(extra["view_of"]), self.temperature).mean()


class FineTuned(ArcFace):
    """CLP-SCF's second stage: ArcFace on a linear layer with batch norm, which comes from SupCon's projector.

    Load that layer by `loss.head.load_state_dict(supcon.head.state_dict())`.
    """

    def __init__(self, n_classes: int, dim: int, m: float = 1.0, s: float = 30.0) -> None:
        super().__init__(n_classes, dim, m, s)
        self.head = nn.Sequential(*linear_norm(dim))

    def embed(self, z: Tensor) -> Tensor:
        """Embedding after the layer: (batch, dim)."""
        head: Tensor = self.head(precise(z))
        return head

    def cosines(self, z: Tensor) -> Tensor:
        """Cosine of each embedding, after the layer, with each class centre: (batch, n_classes)."""
        return super().cosines(self.head(z))


class OneStageSupCon(Classifier):
    """OS-SCL: supervised contrastive loss plus Noisy-ArcMix on z after a feature-perturbation head; Huang et al. 2025.

    The contrastive term uses each clip's class before mixing, is multiplied by temperature / 0.07, and counts anchors
    without a positive as 0. slope: of the head's ReLUs below zero, 0 or the published option 0.01.
    """

    def __init__(
        self,
        n_classes: int,
        dim: int,
        temperature: float = 0.02,
        *,
        m: float = 0.4,
        s: float = 30.0,
        slope: float = 0.0,
    ) -> None:
        super().__init__(n_classes, dim)
        _check_temperature(temperature)
        self.temperature = temperature
        self.head = feature_perturbation(dim, slope)
        self.arcface = NoisyArcMix(n_classes, dim, m, s)

    def _logits(self, z: Tensor) -> Tensor:
        return self.arcface.logits(self.head(z))

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        h = self.head(z)
        positive = same_class(first_class(target, extra))
        contrastive = contrast(h, positive, self.temperature).mean() * (self.temperature / KHOSLA_TEMPERATURE)
        arcface: Tensor = self.arcface(h, target, extra)
        return contrastive + arcface


class BatchHardTriplet(Loss):
    """Hinge loss on each clip's farthest positive and nearest negative in the batch; Hermans et al. 2017.

    Distances are Euclidean between unit vectors (at most 2). Clips without a positive or a negative are left out.
    """

    def __init__(self, n_classes: int, dim: int, margin: float = 0.3) -> None:
        super().__init__(n_classes, dim)
        if not margin >= 0:
            raise ValueError(f"margin={margin}: expected at least 0")
        self.margin = margin

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        label = first_class(target, extra)
        positive, negative = same_class(label), label[:, None] != label
        u = unit(z)
        distance = (2 - 2 * u @ u.T).clamp_min(SMALLEST_DISTANCE_SQUARED).sqrt()
        farthest = distance.masked_fill(~positive, 0.0).amax(dim=1)
        nearest = distance.masked_fill(~negative, 2.0).amin(dim=1)
        counts = positive.any(dim=1) & negative.any(dim=1)
        hinge = functional.relu(self.margin + farthest - nearest) * counts
        return hinge.sum() / counts.sum().clamp_min(1)


def contrast(h: Tensor, positive: Tensor, temperature: float, *, include_self: bool = False) -> Tensor:
    """Supervised contrastive loss of each anchor (batch,): mean over its positives of -log softmax of similarity.

    h (batch, dim) is scaled to unit length; positive is bool (batch, batch). The softmax is over all other clips and,
    with `include_self`, the anchor itself. An anchor without positives gets 0.
    """
    u = unit(h)
    similarity = u @ u.T / temperature
    if not include_self:
        similarity = similarity.masked_fill(_diagonal(len(h), h.device), torch.finfo(similarity.dtype).min)
    log_softmax = similarity - similarity.logsumexp(dim=1, keepdim=True)
    selected = torch.where(positive, log_softmax, torch.zeros_like(log_softmax))
    return -selected.sum(dim=1) / positive.sum(dim=1).clamp_min(1)


def same_class(label: Tensor) -> Tensor:
    """Pairs of different clips with equal labels: (batch,) to bool (batch, batch)."""
    return (label[:, None] == label) & ~_diagonal(len(label), label.device)


def linear_norm(dim: int) -> tuple[nn.Module, nn.Module]:
    """A square linear layer without bias, and batch norm."""
    return nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim)


def feature_perturbation(dim: int, slope: float = 0.0) -> nn.Sequential:
    """OS-SCL's head: to half the width and back, each by a linear layer, (leaky) ReLU and batch norm."""
    half = max(dim // 2, 1)
    down = (nn.Linear(dim, half), nn.LeakyReLU(slope), nn.BatchNorm1d(half))
    return nn.Sequential(*down, nn.Linear(half, dim), nn.LeakyReLU(slope), nn.BatchNorm1d(dim))


def _diagonal(n: int, device: torch.device) -> Tensor:
    return torch.eye(n, dtype=torch.bool, device=device)


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: expected more than 0")
