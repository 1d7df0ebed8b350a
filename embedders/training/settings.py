"""What can be set about a training: frozen dataclasses of plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedders.networks.trained import TrainedEmbedder
from embedders.training.augment_plan import parse_augment
from embedders.training.labels import LABELS

FROM_DATA = {"n_attributes": "attribute", "n_groups": "group"}
"""Parameters of losses that count the columns of a label."""

FROM_PLAN = {*FROM_DATA, "branches", "factor"}
"""Parameters of losses that nobody needs to give, since clips, network or augmentations tell."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train.

    loss: name in LOSSES. labels: what a class is, a name in LABELS. pseudo: embedder whose clusters stand for missing
    attributes, as a line of text; labels=pseudo takes logmel without it. augment: see augment_plan. learning_rate: of
    AdamW, falling to zero along a cosine. beta1: of AdamW, how slowly its mean of gradients forgets. holdout: share of
    the clips held out. patience: epochs without a better held-out loss before it stops; 0 never. ema: decay of the
    averaged weights that are judged and kept; 0 keeps the last ones. imprint: epochs without the classes that lie in
    the target domain alone, before their centres are set to the mean of their embeddings and learn on; 0 never.
    """

    loss: str = "arcface"
    labels: str = "attributes"
    pseudo: str = ""
    augment: str = ""
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 1e-3
    beta1: float = 0.9
    weight_decay: float = 0.0
    holdout: float = 0.05
    patience: int = 0
    ema: float = 0.0
    imprint: int = 0
    seed: int = 0
    channel: str = "0"

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if self.labels not in LABELS:
            raise ValueError(f"unknown labels {self.labels!r}; choose from {', '.join(LABELS)}")
        for name, low, high in (("epochs", 1, 1e6), ("batch", 2, 1e6), ("patience", 0, 1e6)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)}: expected {low} to {high:g}")
        if not (0 < self.holdout < 0.5 and 0 <= self.ema < 1 and self.learning_rate > 0 and self.weight_decay >= 0):
            raise ValueError(
                f"holdout={self.holdout:g}, ema={self.ema:g}, learning_rate={self.learning_rate:g}, weight_decay="
                f"{self.weight_decay:g}: expected 0 < holdout < 0.5, 0 <= ema < 1, rate above 0, decay of 0 or more"
            )
        if not 0 <= self.beta1 < 1:
            raise ValueError(f"beta1={self.beta1:g}: expected 0 or more, and below 1")
        if not 0 <= self.imprint < self.epochs:
            raise ValueError(f"imprint={self.imprint}: expected 0 to {self.epochs - 1}, fewer than epochs")
        parse_augment(self.augment)

    @property
    def clustered(self) -> str:
        """Embedder whose clusters stand for missing attributes; "" leaves them missing."""
        return self.pseudo or ("logmel" if self.labels == "pseudo" else "")


PRETRAIN = ("loss", "labels", "augment", "epochs", "batch", "learning_rate", "weight_decay", "patience", "ema")
"""What a pre-training may have of its own; the rest is that of the training."""

PRETRAIN_DEFAULTS: dict[str, Any] = {"loss": "supcon", "labels": "section", "imprint": 0}


@dataclass(frozen=True)
class Stage:
    """How to train, and the loss's parameters."""

    train: TrainConfig = field(default_factory=TrainConfig)
    loss: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse parameters that are not given but found."""
        for key in FROM_PLAN & set(self.loss):
            raise ValueError(f"loss.{key} follows from the clips, the network or the augmentations; leave it out")


@dataclass(frozen=True)
class Setup:
    """A training as asked for: the kind of embedder, its network's config, how to train, the loss's parameters.

    network: without `seconds`, the commonest length of the recordings is taken. pretrain: what comes before; its
    network, and what its loss has in common with the other one, goes on.
    """

    kind: type[TrainedEmbedder]
    network: Mapping[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)
    loss: Mapping[str, Any] = field(default_factory=dict)
    pretrain: Stage | None = None

    def __post_init__(self) -> None:
        """Refuse parameters of the loss that are not given but found."""
        Stage(self.train, self.loss)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Pre-training, if any, and training."""
        last = Stage(self.train, self.loss)
        return (last,) if self.pretrain is None else (self.pretrain, last)
