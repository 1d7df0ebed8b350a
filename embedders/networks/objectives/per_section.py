"""A network conditioned on the section of a clip: how well the clip fits every section."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.objectives.names import Features, section_names, section_of
from embedders.networks.objectives.reconstruct import Reconstruct


class PerSection(Reconstruct):
    """A network trained to fit a clip under its own section and not under another one; one column per section.

    The network has `code_size`, the size of the learned code of a section. `network(*features, code)`, with code
    (batch, code_size), returns (batch, k): the error of every clip under that code, then what else `repel` needs.
    `network.repel(own, wrong)`, of two such results, is the penalty (batch,) of a fit under a wrong section. Own and
    wrong sections are one batch, so that batch norms see the same mixture in training and afterwards.
    """

    member: Tensor
    rivals: Tensor
    following: Tensor
    views: ClassVar[tuple[str, ...]] = ()
    keeps_classes: ClassVar[bool] = True

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__(network, dim, classes, loss)
        sections = section_names(classes)
        self.codes = nn.Embedding(len(sections), int(network.code_size))  # type: ignore[arg-type]
        member = [sections.index(section_of(name)) for name in classes]
        self.register_buffer("member", torch.tensor(member), persistent=False)
        rivals = rivals_of(sections)
        self.register_buffer("rivals", rivals, persistent=False)
        following = [[(i + k) % len(sections) for k in range(1, len(sections))] for i in range(len(sections))]
        first = [next((j for j in order if rivals[i, j]), i) for i, order in enumerate(following)]
        self.register_buffer("following", torch.tensor(first), persistent=False)

    @staticmethod
    def columns(config: Any, classes: tuple[str, ...], output: str) -> int:
        """Number of sections."""
        return len(section_names(classes))

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean error under the own section, plus `penalty` times the mean penalty of one wrong section per clip.

        first: class of each clip (batch,). With a single section there is no penalty.
        """
        own = self.member[first]
        if len(self.rivals) < 2:
            error: Tensor = self.network(*features, self.codes(own))[:, 0].float()
            return error.mean()
        codes = self.codes(torch.cat([own, self.wrong(own)]))
        both = self.network(*(torch.cat([x, x]) for x in features), codes).float()
        own_fit, wrong_fit = both.chunk(2)
        network: Any = self.network
        repelled: Tensor = network.repel(own_fit, wrong_fit)
        loss: Tensor = own_fit[:, 0].mean() + float(network.config.penalty) * repelled.mean()
        return loss

    def wrong(self, own: Tensor) -> Tensor:
        """A rival of each section (batch,): at random in training, otherwise the next one in order."""
        if not self.training:
            return self.following[own]
        return torch.multinomial(self.rivals[own].float().cpu(), 1)[:, 0].to(own.device)  # the generator of the step

    def vectors(self, features: Features, output: str) -> Tensor:
        """Minus the error of every clip under every section: (batch, sections)."""
        n = len(features[0])
        errors = [self.network(*features, code.expand(n, -1))[:, 0].float() for code in self.codes.weight]
        return -torch.stack(errors, dim=1)


def rivals_of(sections: list[str]) -> Tensor:
    """Mask (n, n) of the wrong sections of each: others of the same machine, or of all machines if it has no other."""
    machines = [name.partition("|")[0] for name in sections]
    other = ~torch.eye(len(sections), dtype=torch.bool)
    same = torch.tensor([[a == b for b in machines] for a in machines]) & other
    return torch.where(same.any(dim=1, keepdim=True), same, other)
