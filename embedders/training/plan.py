"""The plan of one stage of a training: labels of the clips, parameters of the loss, augmentations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedders.losses.table import loss_needs, loss_parameters
from embedders.networks.objectives.classify import Classify
from embedders.networks.trained import TrainedEmbedder
from embedders.training.augment import Augmentation
from embedders.training.augment_plan import at_rate, label_factor, parse_augment
from embedders.training.labels import ClipLabels, clip_labels
from embedders.training.settings import FROM_DATA, Stage, TrainConfig
from featstore.clip import Clip


@dataclass(frozen=True)
class Plan:
    """All that one stage of a training needs besides network and recordings.

    loss: name, parameters, and the factor by which exchanges multiply the classes. late: mask (n,) of the clips whose
    class is imprinted. keep: first column of the exchanged branches of an embedding.
    """

    config: TrainConfig
    labels: ClipLabels
    loss: dict[str, Any]
    augmentations: tuple[Augmentation, ...]
    late: np.ndarray
    keep: int | None


def make_plan(kind: type[TrainedEmbedder], network: Any, stage: Stage, clips: Sequence[Clip]) -> Plan:
    """Plan of a stage for these clips and this network config; ValueError says what is missing and what to use."""
    config = stage.train
    classifies = issubclass(kind.objective_type, Classify)
    augmentations = at_rate(parse_augment(config.augment), network.sample_rate_hz)
    factor, branches = label_factor(augmentations), getattr(network, "branches", 1)
    needs = loss_needs(config.loss) if classifies else ()
    exchanging = any(augmentation.on == "branches" for augmentation in augmentations)
    if not classifies and (factor > 1 or config.imprint):
        raise ValueError(
            f"{kind.name} learns no classes; remove imprint, and statex, featex and transform from augment"
        )
    if exchanging and branches < 2:
        raise ValueError(f"featex exchanges branches, but {kind.name} has a single one; use two_branch or multires")
    if "exchanged" in needs and not exchanging:
        raise ValueError(f"loss {config.loss} needs exchanged branches; add featex or statex+featex to augment")
    if "exchanged" in needs and any(a.on == "waves" and a.label_factor > 1 for a in augmentations):
        raise ValueError(f"loss {config.loss} learns exchanges beside the classes; remove transform from augment")
    if "view_of" in needs and not any(augmentation.copies > 1 for augmentation in augmentations):
        raise ValueError(f"loss {config.loss} contrasts two views of every clip; add views to augment")
    if "own" in needs and not hasattr(kind.network_type, "own_loss"):
        raise ValueError(f"loss own: {kind.name} has no loss of its own; use dp_mae, or another loss")
    labels = clip_labels(clips, kind.objective_type.labels or config.labels, needs)
    derived: dict[str, Any] = {"branches": branches, "factor": factor}
    derived |= {key: labels.extra[name].shape[1] for key, name in FROM_DATA.items() if name in labels.extra}
    params = {key: value for key, value in derived.items() if key in loss_parameters(config.loss)}
    loss: dict[str, Any] = {"name": config.loss, "params": dict(stage.loss) | (params if classifies else {})}
    if factor > 1:
        loss["factor"] = factor
    keep = network.dim // branches if exchanging else None
    return Plan(config, labels, loss, augmentations, _late(config, labels, clips), keep)


def _late(config: TrainConfig, labels: ClipLabels, clips: Sequence[Clip]) -> np.ndarray:
    """Mask (n,) of the clips whose class is in the target domain only, if these are imprinted; otherwise none."""
    if not config.imprint:
        return np.zeros(len(clips), dtype=bool)
    target = np.array([clip.domain == "target" for clip in clips])
    late = ~np.isin(labels.label, labels.label[~target])
    if not late.any() or late.all():
        raise ValueError(
            f"imprint={config.imprint}: {'every' if late.all() else 'no'} class is in the target domain only; use "
            "labels=domain, or remove imprint"
        )
    return late
