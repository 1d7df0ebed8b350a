"""A stage of a training, settled before its first step: labels of the clips, parameters of the loss, augmentations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedders.losses.table import loss_needs, loss_parameters
from embedders.networks.trained import Classify, TrainedEmbedder
from embedders.training.augment import Augmentation
from embedders.training.augment_plan import label_factor, parse_augment
from embedders.training.labels import ClipLabels, clip_labels
from embedders.training.settings import FROM_DATA, Stage, TrainConfig
from featstore.clip import Clip


@dataclass(frozen=True)
class Plan:
    """A settled stage.

    loss: name, parameters, and by how much exchanges multiply the classes. late: clips (n,) of the classes whose
    centres are imprinted. keep: column of an embedding where its exchanged branches begin.
    """

    config: TrainConfig
    labels: ClipLabels
    loss: dict[str, Any]
    augmentations: tuple[Augmentation, ...]
    late: np.ndarray
    keep: int | None


def make_plan(kind: type[TrainedEmbedder], network: Any, stage: Stage, clips: Sequence[Clip]) -> Plan:
    """Settle a stage for these clips and this network's config; ValueError says what lacks, and what to use instead."""
    config = stage.train
    classifies = issubclass(kind.objective_type, Classify)
    augmentations = parse_augment(config.augment)
    factor, branches = label_factor(augmentations), getattr(network, "branches", 1)
    needs = loss_needs(config.loss) if classifies else ()
    exchanging = [one for one in augmentations if one.on == "branches"]
    if not classifies and (factor > 1 or config.imprint):
        raise ValueError(f"{kind.name} learns no classes: leave out imprint, and statex and featex of augment")
    if exchanging and branches < 2:
        raise ValueError(f"featex exchanges branches, and {kind.name} has one; train two_branch or multires with it")
    if "exchanged" in needs and not exchanging:
        raise ValueError(f"loss {config.loss} learns from exchanged branches; add featex to augment, or statex+featex")
    labels = clip_labels(clips, config.labels, needs)
    found: dict[str, Any] = {"branches": branches, "factor": factor}
    found |= {key: labels.extra[name].shape[1] for key, name in FROM_DATA.items() if name in labels.extra}
    params = {key: value for key, value in found.items() if key in loss_parameters(config.loss)}
    loss: dict[str, Any] = {"name": config.loss, "params": dict(stage.loss) | (params if classifies else {})}
    if factor > 1:
        loss["factor"] = factor
    keep = network.dim // branches if exchanging else None
    return Plan(config, labels, loss, augmentations, _late(config, labels, clips), keep)


def _late(config: TrainConfig, labels: ClipLabels, clips: Sequence[Clip]) -> np.ndarray:
    """Clips of the classes that lie in the target domain alone, where these are imprinted; else none (n,)."""
    if not config.imprint:
        return np.zeros(len(clips), dtype=bool)
    target = np.array([clip.domain == "target" for clip in clips])
    late = ~np.isin(labels.label, labels.label[~target])
    if not late.any() or late.all():
        raise ValueError(
            f"imprint={config.imprint}: {'every' if late.all() else 'no'} class lies in the target domain alone; use "
            "labels=domain, or leave imprint out"
        )
    return late
