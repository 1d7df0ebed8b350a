"""Base of all trained embedders: a network and its training objective in one module, loaded from a checkpoint.

A network has two methods. `front(waves)` computes features without parameters: the wave or spectra first, spectrograms
as (batch, frequency, frame). `forward(*features)` returns embeddings (batch, branch, dim) if the network classifies, or
residuals (batch, position, mel) if it reconstructs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.losses.base import Classifier, Loss
from embedders.losses.table import loss_needs, make_loss
from embedders.networks.checkpoint import Trained, fill, load
from featstore.errors import DataError

Features = tuple[Tensor, ...]
Exchange = Callable[[Tensor], tuple[Tensor, Tensor]]


class Classify(nn.Module):
    """A network trained to classify; its vectors are embeddings or log posteriors of the sections."""

    member: Tensor
    views: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("embedding", "posterior")

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.factor: int = loss.get("factor", 1)
        self.takes_both = "exchanged" in loss_needs(loss["name"])  # embeddings before and after an exchange
        n_classes = len(classes) * (1 if self.takes_both else self.factor)
        self.loss: Loss = make_loss(loss["name"], n_classes, dim, **loss["params"])
        self.sections = section_names(classes)
        member = [self.sections.index(section_of(name)) for name in classes]
        self.register_buffer("member", torch.tensor(member), persistent=False)

    def objective(
        self,
        features: Features,
        target: Tensor,
        first: Tensor,
        extra: Mapping[str, Tensor] | None = None,
        exchange: Exchange | None = None,
    ) -> Tensor:
        """Loss of soft labels (batch, n_classes).

        first: class of each clip before mixing (batch,). extra: further inputs of the loss, see `losses.table`.
        exchange: returns embeddings after exchanges of branches, and their labels over the classes followed by the
        pseudo-classes of exchanged clips. The loss gets these instead of, or beside, the embeddings before.
        """
        z = self.network(*features).flatten(1)
        exchanged, pseudo = exchange(z) if exchange else (z, target)
        pseudo = functional.pad(pseudo, (0, len(self.member) * self.factor - pseudo.shape[1]))
        extra = {"first": first, **(extra or {})}
        if self.takes_both:
            extra |= {"exchanged": exchanged, "exchanged_target": pseudo}
        else:
            z, target = exchanged, pseudo
            extra["first"] = first + len(self.member) * _own_copy(pseudo, self.factor)
        loss: Tensor = self.loss(z, target, extra)
        return loss

    def vectors(self, features: Features, output: str) -> Tensor:
        """Vectors (batch, columns): "embedding", "posterior" (log, per section), or "network" (before the loss)."""
        z: Tensor = self.network(*features).flatten(1).float()
        if output == "network":
            return z
        if output == "embedding":
            embedding: Tensor = self.loss.embed(z)
            return embedding
        if not isinstance(self.loss, Classifier):
            raise DataError(
                f"loss {type(self.loss).__name__} does not classify, so it has no posterior; use output=embedding"
            )
        log_p = self.loss.logits(z).log_softmax(dim=1)  # logs stay exact where probabilities round to 0 or 1
        log_p = log_p[:, : len(self.member)]  # without the pseudo-classes of exchanged clips, which have no section
        members = [log_p[:, self.member.eq(i)].logsumexp(dim=1) for i in range(len(self.sections))]
        return torch.stack(members, dim=1)


class Reconstruct(nn.Module):
    """A network trained to reconstruct frames; its vectors are three statistics of the residual, over mels.

    residual: mean residual of all frames. squared: mean squared residual; its mean is the clip's mean squared error.
    weighted: squared residuals with frames weighted by the rank of their error (GWRP); its mean is the weighted error.
    """

    views: ClassVar[tuple[str, ...]] = ("residual", "squared", "weighted")
    outputs: ClassVar[tuple[str, ...]] = ("embedding",)
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


def _own_copy(target: Tensor, factor: int) -> Tensor:
    """Copy of the classes that holds each clip's own class: target (batch, factor * n_classes) to (batch,) int64.

    Copy 0 are the classes, the others pseudo-classes of exchanged clips. The first copy with any weight holds the
    clip's own class; later ones hold its partner's.
    """
    weight = target.view(len(target), factor, -1).sum(dim=2)
    return weight.gt(0).byte().argmax(dim=1)


def section_of(label: str) -> str:
    """Machine and section of a class label, as `machine|section`."""
    return "|".join(label.split("|")[:2])


def section_names(classes: tuple[str, ...]) -> list[str]:
    """All machines and sections among the classes, sorted."""
    return sorted({section_of(name) for name in classes})


@dataclass(frozen=True, kw_only=True)
class TrainedEmbedder:
    """Embedder: a network trained by `featstore train`; a subclass names its config, network and objective.

    output: "embedding", or for classifiers "posterior": the log probability of every section, which the detector
    `posterior` reads.
    """

    checkpoint: str = ""
    output: str = "embedding"
    device: str = "cpu"

    name: ClassVar[str]
    config_type: ClassVar[type]
    network_type: ClassVar[Callable[[Any], nn.Module]]
    objective_type: ClassVar[type[Classify] | type[Reconstruct]] = Classify

    def __post_init__(self) -> None:
        """Check the name of the output."""
        if self.output not in self.objective_type.outputs:
            raise ValueError(
                f"unknown output {self.output!r} of {self.name}; choose from {', '.join(self.objective_type.outputs)}"
            )

    @cached_property
    def trained(self) -> Trained:
        """Content of the checkpoint."""
        if not self.checkpoint:
            raise DataError(
                f"{self.name} needs a checkpoint: write {self.name}=CHECKPOINT, made by `featstore train {self.name}`"
            )
        return load(Path(self.checkpoint), self.name)

    @cached_property
    def settings(self) -> Any:
        """Config of the network."""
        return read_config(self.config_type, self.trained.config, Path(self.checkpoint))

    @cached_property
    def model(self) -> Classify | Reconstruct:
        """Network and objective, ready to embed."""
        model = make_model(type(self), self.settings, self.trained.classes, self.trained.loss)
        fill(model, self.trained.tensors, Path(self.checkpoint))
        return model.eval().to(self.device)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waves the network was trained on."""
        return int(self.settings.sample_rate_hz)

    @property
    def min_samples(self) -> int:
        """Shortest wave that `embed` accepts, in samples."""
        return int(self.settings.min_samples)

    @property
    def views(self) -> tuple[str, ...]:
        """Names along the first axis of `shape`; () if there is a single view."""
        return self.objective_type.views

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one embedding: (d,) or (views, d)."""
        d = len(section_names(self.trained.classes)) if self.output == "posterior" else self.settings.dim
        return (len(self.views), d) if self.views else (d,)

    @property
    def config(self) -> Mapping[str, object]:
        """Network, loss, classes and fingerprint of the weights as JSON values; the checkpoint by its file name."""
        return {
            "checkpoint": Path(self.checkpoint).name,
            "output": self.output,
            "weights": self.trained.fingerprint,
            "network": dict(self.trained.config),
            "loss": dict(self.trained.loss),
            "classes": list(self.trained.classes),
        }

    @property
    def fingerprint(self) -> str:
        """Equal if and only if two embedders compute the same numbers."""
        from embedders import fingerprint

        return fingerprint(self.name, {"output": self.output, "weights": self.trained.fingerprint})

    @torch.inference_mode()
    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape)."""
        if waves.ndim != 2 or waves.shape[1] < self.min_samples:
            raise ValueError(f"expected waves (batch, time) of at least {self.min_samples} samples, got {waves.shape}")
        if not len(waves):
            return np.empty((0, *self.shape), np.float32)
        batch = torch.from_numpy(np.array(waves, dtype=np.float32, order="C")).to(self.device)
        features = self.model.network.front(batch)  # type: ignore[operator]
        vectors: np.ndarray = self.model.vectors(features, self.output).float().cpu().numpy()
        return vectors


def make_model(
    kind: type[TrainedEmbedder], config: Any, classes: tuple[str, ...], loss: Mapping[str, Any]
) -> Classify | Reconstruct:
    """Network and objective with fresh weights."""
    return kind.objective_type(kind.network_type(config), config.dim, classes, loss)


def plain(config: Any) -> dict[str, Any]:
    """Fields of a config as JSON values."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def read_config(config_type: type, values: Mapping[str, Any], path: Path) -> Any:
    """Inverse of `plain`; DataError if the values do not fit this version."""
    try:
        return config_type(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: its config does not fit this version ({error}); train again") from error
