"""Combined losses: attribute heads, a loss per branch, and pseudo-classes of exchanged embeddings."""

from collections.abc import Mapping

from torch import Tensor, nn

from embedders.losses.adacos import SubclusterAdaCos
from embedders.losses.base import Classifier, soft_cross_entropy
from embedders.losses.contrastive import BatchHardTriplet
from embedders.losses.margin import CrossEntropy
from embedders.losses.table import make_loss


class AttributeTriplet(CrossEntropy):
    """Sum of section cross-entropy, batch-hard triplets and a linear attribute classifier; Wang et al. 2022."""

    needs = ("attribute",)

    def __init__(
        self,
        n_classes: int,
        dim: int,
        n_attributes: int,
        *,
        margin: float = 0.3,
        triplet_weight: float = 1.0,
        attribute_weight: float = 1.0,
    ) -> None:
        super().__init__(n_classes, dim)
        self.triplet = BatchHardTriplet(n_classes, dim, margin)
        self.attribute = nn.Linear(dim, n_attributes)
        self.triplet_weight = triplet_weight
        self.attribute_weight = attribute_weight

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        attribute = soft_cross_entropy(self.attribute(z), extra["attribute"])
        triplet = self.triplet(z, target, extra)
        section = super()._loss(z, target, extra)
        total: Tensor = section + self.triplet_weight * triplet + self.attribute_weight * attribute
        return total


class Hierarchical(Classifier):
    """HMIC: weight * section loss + (1 - weight) * attribute-group loss, with two heads on z; Lan et al. 2024.

    A group is a combination of attribute values within a section. base: name of the loss of both heads.
    """

    needs = ("group",)

    def __init__(
        self, n_classes: int, dim: int, n_groups: int, weight: float = 0.5, base: str = "cross_entropy"
    ) -> None:
        super().__init__(n_classes, dim)
        if not 0 <= weight <= 1:
            raise ValueError(f"weight={weight}: expected a number in [0, 1]")
        self.weight = weight
        self.section = _classifier(base, n_classes, dim)
        self.group = _classifier(base, n_groups, dim)

    def _logits(self, z: Tensor) -> Tensor:
        return self.section.logits(z)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        sections: Tensor = self.section(z, target, extra)
        groups: Tensor = self.group(z, extra["group"])
        return self.weight * sections + (1 - self.weight) * groups


class Subspace(Classifier):
    """Sub-cluster AdaCos on z, plus `weight` times sub-cluster AdaCos on each of `branches` equal parts; Fujimura 2025.

    All scales are fixed. The centres for z are random and fixed; those for the branches are trained.
    """

    def __init__(self, n_classes: int, dim: int, branches: int, clusters: int = 16, weight: float = 1.0) -> None:
        super().__init__(n_classes, dim)
        if branches < 1 or dim % branches:
            raise ValueError(f"{dim} dimensions cannot be split into {branches} equal branches")
        self.weight = weight
        self.whole = SubclusterAdaCos(n_classes, dim, clusters, dynamic=False, trainable=False)
        self.parts = nn.ModuleList(
            SubclusterAdaCos(n_classes, dim // branches, clusters, dynamic=False) for _ in range(branches)
        )

    def _logits(self, z: Tensor) -> Tensor:
        return self.whole.logits(z)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        loss: Tensor = self.whole(z, target)
        for part, columns in zip(self.parts, z.chunk(len(self.parts), dim=1), strict=True):
            loss = loss + self.weight * part(columns, target)
        return loss


class Exchanged(Classifier):
    """SSL4ASD: sub-cluster AdaCos on classes plus one on pseudo-classes of exchanged embeddings; Wilkinghoff 2024.

    factor: 3 with FeatEx alone, 9 with StatEx and FeatEx. The centres of the classes are random and fixed; those of the
    pseudo-classes are trained.
    """

    needs = ("exchanged", "exchanged_target")

    def __init__(self, n_classes: int, dim: int, factor: int = 9, clusters: int = 16, weight: float = 1.0) -> None:
        super().__init__(n_classes, dim)
        if factor < 1:
            raise ValueError(f"factor={factor}: expected 3 for featex, 9 for statex+featex")
        self.weight = weight
        self.classes = SubclusterAdaCos(n_classes, dim, clusters, trainable=False)
        self.pseudo = SubclusterAdaCos(factor * n_classes, dim, clusters)

    def _logits(self, z: Tensor) -> Tensor:
        return self.classes.logits(z)

    def _loss(self, z: Tensor, target: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        classes: Tensor = self.classes(z, target)
        pseudo: Tensor = self.pseudo(extra["exchanged"], extra["exchanged_target"])
        return classes + self.weight * pseudo


def _classifier(name: str, n_classes: int, dim: int) -> Classifier:
    loss = make_loss(name, n_classes, dim)
    if not isinstance(loss, Classifier):
        raise ValueError(f"base={name}: does not classify; use a loss that does, such as cross_entropy or arcface")
    return loss
