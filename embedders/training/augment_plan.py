"""The augmentations of a training, from one line of text, put to work where each belongs.

    NAME[:key=value[,key=value...]] joined by "+": mixup:p=0.5,alpha=0.5+specaugment:max_frames=40

Whatever their order in the text, those on waves come first, then those on features, spectrograms, branches.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from embedders.training.augment import AUGMENTATIONS, Augmentation, make_augmentation
from featstore.spec import read_value

Features = tuple[Tensor, ...]


def parse_augment(text: str) -> tuple[Augmentation, ...]:
    """Augmentations of a line of text in the grammar above, none for ""; ValueError says what does not fit."""
    made = [_parse_one(part) for part in text.split("+")] if text else []
    exchanges = [one for one in made if one.label_factor > 1]
    if len({one.on for one in exchanges}) < len(exchanges):
        raise ValueError(f"augment={text}: an exchange multiplies the classes; name each kind once")
    return tuple(made)


def _parse_one(part: str) -> Augmentation:
    name, _, rest = part.partition(":")
    texts = dict(_pair(item, part) for item in rest.split(",")) if rest else {}
    if name not in AUGMENTATIONS:
        return make_augmentation(name)  # which says what there is
    apply = AUGMENTATIONS[name].apply
    kinds = typing.get_type_hints(apply)
    values: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            values[key] = read_value(text, kinds[key]) if key in kinds else text
        except (ValueError, KeyError):
            raise ValueError(f"augment={part}: {key}={text}: expected {kinds[key]}") from None
    made = make_augmentation(name, **values)
    for key, parameter in inspect.signature(apply).parameters.items():
        if parameter.default is parameter.empty and key not in ("x", "target", "rng", *values):
            raise ValueError(f"augment={part}: {name} needs a value for {key}, such as {name}:{key}=...")
    return made


def _pair(item: str, part: str) -> tuple[str, str]:
    key, _, text = item.partition("=")
    if not (key and text):
        raise ValueError(f"augment={part}: expected key=value after the colon, got {item!r}")
    return key, text


def label_factor(augmentations: tuple[Augmentation, ...]) -> int:
    """By how much all exchanges together multiply the classes: 1, 3 or 9."""
    factor = 1
    for one in augmentations:
        factor *= one.label_factor
    return factor


class Augmenter:
    """Augmentations applied with one generator; `keep` is the column where branches begin to be exchanged."""

    def __init__(self, augmentations: tuple[Augmentation, ...], rng: torch.Generator, keep: int | None = None) -> None:
        self.augmentations = augmentations
        self.rng = rng
        self.keep = keep

    def waves(self, waves: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Waves (batch, time) and labels after those on waves."""
        for one in self._on("waves"):
            waves, target = one(waves, target, rng=self.rng)
        return waves, target

    def features(self, features: Features, target: Tensor) -> tuple[Features, Tensor]:
        """All inputs of a network, and labels, mixed with the same partners and shares."""
        for one in self._on("features"):
            features, target = self._alike(one, features, target)
        return features, target

    def spectrograms(self, features: Features, target: Tensor) -> tuple[Features, Tensor]:
        """Inputs of a network whose spectrograms (batch, frequency, frame) are augmented, all with the same draws."""
        for one in self._on("spectrogram"):
            turned = tuple(x.transpose(1, 2) for x in features if x.ndim == 3)
            if not turned:
                raise ValueError("there is no spectrogram among the inputs of this network; augment waves instead")
            turned, target = self._alike(one, turned, target)
            made = iter(turned)
            features = tuple(next(made).transpose(1, 2) if x.ndim == 3 else x for x in features)
        return features, target

    def branches(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (batch, dim) and labels after those on branches."""
        for one in self._on("branches"):
            asked = getattr(one, "keywords", {})
            keep = {} if self.keep is None or "keep" in asked else {"keep": self.keep}
            z, target = one(z, target, rng=self.rng, **keep)
        return z, target

    def _on(self, stage: str) -> list[Callable[..., tuple[Tensor, Tensor]]]:
        return [one.apply for one in self.augmentations if one.on == stage]

    def _alike(self, apply: Callable[..., Any], inputs: Features, target: Tensor) -> tuple[Features, Tensor]:
        """Several inputs with one and the same draw."""
        start = self.rng.get_state()
        made, labels = [], target
        for x in inputs:
            self.rng.set_state(start)
            augmented, labels = apply(x, target, rng=self.rng)
            made.append(augmented)
        return tuple(made), labels
