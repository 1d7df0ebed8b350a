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

    A wrong section is of the same machine for half of the clips and of another machine for the others. With those of
    the same machine alone, the codes of other machines would not be trained on a clip, and could fit it best.
    """

    member: Tensor
    chances: Tensor
    fixed: Tensor
    views: ClassVar[tuple[str, ...]] = ()
    keeps_classes: ClassVar[bool] = True

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__(network, dim, classes, loss)
        sections = section_names(classes)
        self.codes = nn.Embedding(len(sections), int(network.code_size))  # type: ignore[arg-type]
        member = [sections.index(section_of(name)) for name in classes]
        self.register_buffer("member", torch.tensor(member), persistent=False)
        self.register_buffer("chances", chances_of(sections), persistent=False)
        self.register_buffer("fixed", fixed_rivals(sections), persistent=False)

    @staticmethod
    def columns(config: Any, classes: tuple[str, ...], output: str) -> int:
        """Number of sections."""
        return len(section_names(classes))

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean error under the own section, plus `penalty` times the mean penalty of one wrong section per clip.

        first: class of each clip (batch,). With a single section there is no penalty.
        """
        own = self.member[first]
        if len(self.chances) < 2:
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
        """A rival of each section (batch,): at random in training, otherwise by the place in the batch."""
        if not self.training:
            place = torch.arange(len(own), device=own.device) % self.fixed.shape[1]
            return self.fixed[own, place]
        return torch.multinomial(self.chances[own].cpu(), 1)[:, 0].to(own.device)  # the generator of the step

    def vectors(self, features: Features, output: str) -> Tensor:
        """Minus the error of every clip under every section: (batch, sections)."""
        n = len(features[0])
        errors = [self.network(*features, code.expand(n, -1))[:, 0].float() for code in self.codes.weight]
        return -torch.stack(errors, dim=1)


def rivals_of(sections: list[str]) -> list[tuple[list[int], ...]]:
    """Wrong sections of each, from the next one on: the others of its machine, then those of other machines.

    There is one list instead of two where either of them would be empty.
    """
    machines = [name.partition("|")[0] for name in sections]
    n, kinds = len(sections), []
    for i, machine in enumerate(machines):
        order = [(i + k) % n for k in range(1, n)]
        both = [j for j in order if machines[j] == machine], [j for j in order if machines[j] != machine]
        kinds.append(tuple(rivals for rivals in both if rivals))
    return kinds


def chances_of(sections: list[str]) -> Tensor:
    """Probability (n, n) of each wrong section: half for the same machine and half for others, where there are both."""
    chances = torch.zeros(len(sections), len(sections))
    for row, kinds in zip(chances, rivals_of(sections), strict=True):
        for rivals in kinds:
            row[rivals] = 1 / (len(kinds) * len(rivals))
    return chances


def fixed_rivals(sections: list[str]) -> Tensor:
    """Wrong sections (n, 2n) of each in a fixed order, both kinds in turn; a single section is its own."""
    places = range(2 * len(sections))
    rows = []
    for i, kinds in enumerate(rivals_of(sections)):
        kinds = kinds or ([i],)
        turns = [(kinds[k % len(kinds)], k // len(kinds)) for k in places]
        rows.append([rivals[turn % len(rivals)] for rivals, turn in turns])
    return torch.tensor(rows)
