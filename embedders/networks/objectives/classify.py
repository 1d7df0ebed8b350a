"""A network that classifies: embeddings, or the log posterior of every section."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.losses.base import Classifier, Loss
from embedders.losses.table import loss_needs, make_loss
from embedders.networks.objectives.names import Exchange, Features, section_names, section_of
from embedders.networks.objectives.objective import Objective
from featstore.errors import DataError


class Classify(Objective):
    """A network trained to classify; its vectors are embeddings or log posteriors of the sections."""

    member: Tensor
    outputs: ClassVar[tuple[str, ...]] = ("embedding", "posterior")
    keeps_classes: ClassVar[bool] = True

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__(network, dim, classes, loss)
        self.factor: int = loss.get("factor", 1)
        self.takes_both = "exchanged" in loss_needs(loss["name"])  # embeddings before and after an exchange
        self.takes_own = "own" in loss_needs(loss["name"])
        n_classes = len(classes) * (1 if self.takes_both else self.factor)
        self.loss: Loss = make_loss(loss["name"], n_classes, dim, **loss["params"])
        self.sections = section_names(classes)
        member = [self.sections.index(section_of(name)) for name in classes]
        self.register_buffer("member", torch.tensor(member), persistent=False)

    @staticmethod
    def columns(config: Any, classes: tuple[str, ...], output: str) -> int:
        """Columns of an output."""
        return len(section_names(classes)) if output == "posterior" else int(config.dim)

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
        if self.takes_own:
            own: Tensor = self.network.own_loss(*features)  # type: ignore[operator]
            return own
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


def _own_copy(target: Tensor, factor: int) -> Tensor:
    """Copy of the classes that holds each clip's own class: target (batch, factor * n_classes) to (batch,) int64.

    Copy 0 are the classes, the others pseudo-classes of exchanged clips. The first copy with any weight holds the
    clip's own class; later ones hold its partner's.
    """
    weight = target.view(len(target), factor, -1).sum(dim=2)
    return weight.gt(0).byte().argmax(dim=1)
