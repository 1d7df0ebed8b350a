"""What can be set about a training: frozen dataclasses of plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedders.trained import TrainedEmbedder
from embedders.training_data import LABELS


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train.

    loss: name in LOSSES. labels: what a class is, a name in LABELS. learning_rate: of AdamW, falling to zero along a
    cosine. mixup: share of batches that are mixed, with weights from Beta(mixup_alpha, mixup_alpha), as waves or, with
    mix_features, as features. holdout: share of the clips held out. patience: epochs without a better held-out loss
    before it stops; 0 never. ema: decay of the averaged weights that are judged and kept; 0 keeps the last ones.
    """

    loss: str = "arcface"
    labels: str = "attributes"
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    mixup: float = 0.0
    mixup_alpha: float = 0.5
    mix_features: bool = False
    holdout: float = 0.05
    patience: int = 0
    ema: float = 0.0
    seed: int = 0
    channel: str = "0"

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if self.labels not in LABELS:
            raise ValueError(f"unknown labels {self.labels!r}; choose from {', '.join(LABELS)}")
        for name, low, high in (("epochs", 1, 1e6), ("batch", 2, 1e6), ("patience", 0, 1e6), ("mixup", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)}: expected {low} to {high:g}")
        if not (0 < self.holdout < 0.5 and 0 <= self.ema < 1 and self.learning_rate > 0 and self.mixup_alpha > 0):
            raise ValueError(
                f"holdout={self.holdout:g}, ema={self.ema:g}, learning_rate={self.learning_rate:g}, mixup_alpha="
                f"{self.mixup_alpha:g}: expected 0 < holdout < 0.5, 0 <= ema < 1, and the others above 0"
            )


@dataclass(frozen=True)
class Setup:
    """A training as asked for: the kind of embedder, its network's config, how to train, the loss's parameters.

    network: without `seconds`, the commonest length of the recordings is taken.
    """

    kind: type[TrainedEmbedder]
    network: Mapping[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)
    loss: Mapping[str, Any] = field(default_factory=dict)
