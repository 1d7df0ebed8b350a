"""Settings of a training: frozen dataclasses of plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedders.networks.limits import check_finite
from embedders.networks.trained import TrainedEmbedder
from embedders.training.augment_plan import parse_augment
from embedders.training.labels import LABELS
from embedders.training.pseudo_labels import clustering_of
from featstore.audio.near_far.mixes import mixes_of
from featstore.errors import DataError

FROM_DATA = {"n_attributes": "attribute", "n_groups": "group"}
"""Parameters of losses that are numbers of columns of a label, and the label."""

FROM_PLAN = {*FROM_DATA, "branches", "factor"}
"""Parameters of losses that follow from clips, network or augmentations and cannot be set."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train.

    loss: name in LOSSES. labels: definition of a class, a name in LABELS. pseudo: embedder whose clusters replace
    missing attributes; with labels=pseudo the default is logmel. clusters: how they are made, "bic" or such as
    "kmeans:source=7,target=1" (see pseudo_labels). augment: see augment_plan. learning_rate: of AdamW, falling to zero
    along a cosine. beta1: of AdamW, decay of its mean of gradients. holdout: share of the clips held out. patience:
    stop after this many epochs without a better held-out loss; 0: never. ema: decay of the moving average of weights,
    which is evaluated and saved; 0: no average. imprint: number of epochs without the classes that are in the target
    domain only; then their centres are set to the mean of their embeddings and trained; 0: never.
    faults: file of confirmed faults, see `confirmed`, for networks that learn them.
    """

    loss: str = "arcface"
    labels: str = "attributes"
    pseudo: str = ""
    clusters: str = "bic"
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
    faults: str = ""

    def __post_init__(self) -> None:
        """Check the values."""
        check_finite(self)
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed={self.seed}: expected 0 or more, below 2 ** 63")
        if self.labels not in LABELS:
            raise ValueError(f"unknown labels {self.labels!r}; choose from {', '.join(LABELS)}")
        for name, low, high in (("epochs", 1, 1e6), ("batch", 2, 1e6), ("patience", 0, 1e6)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)}: expected {low} to {high:g}")
        if not (0 < self.holdout < 0.5 and 0 <= self.ema < 1 and self.learning_rate > 0 and self.weight_decay >= 0):
            raise ValueError(
                f"holdout={self.holdout:g}, ema={self.ema:g}, learning_rate={self.learning_rate:g}, weight_decay="
                f"{self.weight_decay:g}: expected 0 < holdout < 0.5, 0 <= ema < 1, learning_rate > 0, weight_decay >= 0"
            )
        if not 0 <= self.beta1 < 1:
            raise ValueError(f"beta1={self.beta1:g}: expected 0 <= beta1 < 1")
        if not 0 <= self.imprint < self.epochs:
            raise ValueError(f"imprint={self.imprint}: expected 0 to {self.epochs - 1}, less than epochs")
        parse_augment(self.augment)
        clustering_of(self.clusters)
        if self.clusters != "bic" and not self.clustered:
            raise ValueError(f"clusters={self.clusters}: nothing is clustered; add pseudo=EMBEDDER or labels=pseudo")
        try:
            mixes_of(self.channel)
        except DataError as error:
            raise ValueError(str(error)) from error

    @property
    def clustered(self) -> str:
        """Embedder whose clusters replace missing attributes; "" for none."""
        return self.pseudo or ("logmel" if self.labels == "pseudo" else "")


PRETRAIN = ("loss", "labels", "augment", "epochs", "batch", "learning_rate", "weight_decay", "patience", "ema")
"""Settings that a pre-training may have of its own; the others are those of the training."""

PRETRAIN_DEFAULTS: dict[str, Any] = {"loss": "supcon", "labels": "section", "imprint": 0}


@dataclass(frozen=True)
class Stage:
    """How to train one stage, and the parameters of its loss."""

    train: TrainConfig = field(default_factory=TrainConfig)
    loss: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse parameters of the loss that cannot be set."""
        for key in FROM_PLAN & set(self.loss):
            raise ValueError(f"loss.{key} follows from the clips, the network or the augmentations; remove it")


@dataclass(frozen=True)
class Setup:
    """All settings of a training: kind of embedder, network config, how to train, parameters of the loss.

    network: default of `seconds` is the most frequent length of the recordings. pretrain: an earlier stage, whose
    network, and tensors of its loss that fit by name and shape, are the start of the training.
    """

    kind: type[TrainedEmbedder]
    network: Mapping[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)
    loss: Mapping[str, Any] = field(default_factory=dict)
    pretrain: Stage | None = None

    def __post_init__(self) -> None:
        """Refuse parameters of the loss that cannot be set, several channels that the network does not read, and faults
        for a network that learns none, or none for one that does."""
        Stage(self.train, self.loss)
        mixes = mixes_of(self.train.channel)
        if mixes.several and len(mixes.each) != self.kind.n_channels:
            raise ValueError(
                f"channel={self.train.channel}: a network is trained on one wave per clip; name one, such as "
                f"{mixes.main.text}, and build with all of them"
            )
        learns = bool(self.kind.objective_type.labels)
        if self.train.faults and not learns:
            raise ValueError(f"faults={self.train.faults}: {self.kind.name} learns from normal sound alone; remove it")
        if learns and self.pretrain is not None:
            raise ValueError(f"{self.kind.name} has no pre-training; remove the settings pretrain.*")

    @property
    def channel(self) -> str:
        """Channel of the waves to train on: a network that reads near and far renders the far one itself."""
        return mixes_of(self.train.channel).main.text

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The pre-training, if any, and the training."""
        last = Stage(self.train, self.loss)
        return (last,) if self.pretrain is None else (self.pretrain, last)
