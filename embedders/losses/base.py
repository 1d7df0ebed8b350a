"""Base classes of all losses, and anomaly scores from the logits of a classifier."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_LENGTH = 1e-6


class Loss(nn.Module):
    """Base of every loss: checks shapes and computes the subclass's `_loss` in float32 without autocast."""

    needs: ClassVar[tuple[str, ...]] = ()
    epochwise: ClassVar[bool] = False

    def __init__(self, n_classes: int, dim: int) -> None:
        super().__init__()
        if n_classes < 1 or dim < 1:
            raise ValueError(f"n_classes={n_classes}, dim={dim}: expected at least 1 of each")
        self.n_classes = n_classes
        self.dim = dim

    def forward(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scalar loss of embeddings z (batch, dim) and labels target (batch, n_classes); extra: see `losses.table`."""
        if z.shape[1:] != (self.dim,) or target.shape != (len(z), self.n_classes):
            raise ValueError(
                f"expected embeddings (batch, {self.dim}) and labels (batch, {self.n_classes}), got {tuple(z.shape)} "
                f"and {tuple(target.shape)}"
            )
        extra = extra or {}
        missing = [name for name in self.needs if name not in extra]
        if missing:
            raise ValueError(
                f"{type(self).__name__} needs {', '.join(missing)} in `extra`; see embedders/losses/table.py"
            )
        with torch.autocast(z.device.type, enabled=False):
            return self._loss(precise(z), target, extra)

    def embed(self, z: Tensor) -> Tensor:
        """Embedding to store (batch, dim): z itself, or z after a layer that the loss adds."""
        return z

    def update(self, Z: Tensor) -> None:
        """Learn statistics of the embeddings Z (n, dim) of the whole training set; most losses do nothing."""

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError


class Own(Loss):
    """Stands for `network.own_loss(*features)`, such as the error of a reconstruction; labels are not used."""

    needs = ("own",)


class Classifier(Loss):
    """Base of losses that classify; the subclass defines `_logits` (without margin) and `_loss`."""

    def __init__(self, n_classes: int, dim: int) -> None:
        super().__init__(n_classes, dim)
        if n_classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {n_classes}; add machines or attributes")

    def logits(self, z: Tensor) -> Tensor:
        """Scaled logits (batch, n_classes) without margin, in float32 or float64."""
        with torch.autocast(z.device.type, enabled=False):
            return self._logits(precise(z))

    def posterior(self, z: Tensor) -> Tensor:
        """Probability of each class: (batch, n_classes)."""
        return self.logits(z).softmax(dim=1)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        return soft_cross_entropy(self._logits(z), target)

    def _logits(self, z: Tensor) -> Tensor:
        raise NotImplementedError


def precise(z: Tensor) -> Tensor:
    """Convert to float32; float64 stays float64."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def unit(z: Tensor) -> Tensor:
    """Scale vectors along the last axis to length 1; a vector shorter than 1e-6 becomes 0 without gradient."""
    length = z.norm(dim=-1, keepdim=True)
    return torch.where(length > SMALLEST_LENGTH, z / length.clamp_min(SMALLEST_LENGTH), torch.zeros_like(z))


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean of -sum_c target_c log softmax(logits)_c over rows with a known label (not all 0)."""
    rows = -(target * functional.log_softmax(logits, dim=1)).sum(dim=1)
    return rows.sum() / known_rows(target)


def known_rows(target: Tensor) -> Tensor:
    """Number of rows with a known label, at least 1."""
    return target.any(dim=1).sum().clamp_min(1)


def first_class(target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
    """Class of each clip before mixing, (batch,) int64: `extra["first"]`, or else the class of largest weight."""
    return extra["first"] if "first" in extra else target.argmax(dim=1)


def surprise(logits: Tensor, claimed: Tensor) -> Tensor:
    """Negative log posterior of the claimed class (batch,) int64, in nats."""
    return functional.cross_entropy(logits, claimed, reduction="none")


def log_odds(logits: Tensor, claimed: Tensor) -> Tensor:
    """log((1 - p) / p), where p is the posterior of the claimed class; finite where p rounds to 0 or 1."""
    own = logits.gather(1, claimed[:, None])
    others = logits.scatter(1, claimed[:, None], -torch.inf)
    return others.logsumexp(dim=1) - own[:, 0]


CLASSIFIER_SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"surprise": surprise, "log_odds": log_odds}
"""Anomaly scores (batch,) of logits (batch, n_classes) and the claimed class (batch,): higher = more anomalous."""
