"""Cross-entropy, without and with an additive angular margin, for hard and mixed labels."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.losses.base import Classifier, first_class, known_rows, soft_cross_entropy, unit

SMALLEST_SINE_SQUARED = 1e-7  # spacing of float32 at 1; for smaller values the gradient of the root is unbounded


class CrossEntropy(Classifier):
    """Softmax cross-entropy of a linear layer with bias."""

    def __init__(self, n_classes: int, dim: int) -> None:
        super().__init__(n_classes, dim)
        self.linear = nn.Linear(dim, n_classes)

    def _logits(self, z: Tensor) -> Tensor:
        logits: Tensor = self.linear(z)
        return logits


class ArcFace(Classifier):
    """Additive angular margin: logit s cos(theta + m) for the own class, s cos(theta) for others; Deng et al. 2019.

    With mixed labels this is ArcMix (Choi & Choi 2024): the sum over classes of label weight times the loss with the
    margin on that class. m: radians; where theta + m exceeds pi the logit continues as cos(theta) - m sin(m).
    """

    def __init__(self, n_classes: int, dim: int, m: float = 0.7, s: float = 30.0) -> None:
        super().__init__(n_classes, dim)
        if not (0 <= m < math.pi and s > 0):
            raise ValueError(f"m={m}, s={s}: expected 0 <= m < pi and s > 0")
        self.m = m
        self.s = s
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_classes, dim)))

    def cosines(self, z: Tensor) -> Tensor:
        """Cosine of each embedding with each class centre: (batch, n_classes)."""
        return functional.linear(unit(z), unit(self.centres))

    def _logits(self, z: Tensor) -> Tensor:
        return self.s * self.cosines(z)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        cosines = self.cosines(z)
        row, label = target.nonzero(as_tuple=True)  # one loss per clip and class with weight: two after mixup
        own = functional.one_hot(label, self.n_classes).bool()
        logits = self.s * torch.where(own, with_margin(cosines, self.m)[row], cosines[row])
        losses = functional.cross_entropy(logits, label, reduction="none")
        return (target[row, label] * losses).sum() / known_rows(target)


class NoisyArcMix(ArcFace):
    """ArcFace with the margin on the class of a clip before mixing, whatever its mixed label; Choi & Choi 2024."""

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        cosines = self.cosines(z)
        first = functional.one_hot(first_class(target, extra), self.n_classes).bool()
        return soft_cross_entropy(self.s * torch.where(first, with_margin(cosines, self.m), cosines), target)


def with_margin(cosines: Tensor, m: float) -> Tensor:
    """cos(theta + m) from cos(theta), or cos(theta) - m sin(m) where theta + m exceeds pi; gradients are finite."""
    sines = (1 - cosines.square()).clamp(SMALLEST_SINE_SQUARED, 1).sqrt()
    shifted = cosines * math.cos(m) - sines * math.sin(m)
    return torch.where(cosines > -math.cos(m), shifted, cosines - m * math.sin(m))
