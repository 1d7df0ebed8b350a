"""The augmentations of a training: parsed from the setting `augment` and applied at their stages.

    NAME[:key=value[,key=value...]] joined by "+": mixup:p=0.5,alpha=0.5+specaugment:max_frames=40

Whatever their order in the text, those on waves come first, then those on features, spectrograms and branches.
"""

import inspect
import math
import typing
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from embedders.training.augment import AUGMENTATIONS, NOT_SET, Augmentation, make_augmentation
from featstore.spec import read_value

Features = tuple[Tensor, ...]


def parse_augment(text: str) -> tuple[Augmentation, ...]:
    """Augmentations of a text in the grammar above, none for ""; ValueError says what does not fit."""
    augmentations = [_parse(part) for part in text.split("+")] if text else []
    exchanges = [augmentation.on for augmentation in augmentations if augmentation.label_factor > 1]
    if len(set(exchanges)) < len(exchanges):
        raise ValueError(
            f"augment={text}: an exchange multiplies the classes; use statex, featex and transform at most once each"
        )
    return tuple(augmentations)


def at_rate(augmentations: tuple[Augmentation, ...], rate_hz: int) -> tuple[Augmentation, ...]:
    """The augmentations, with the sample rate given to those that need it."""
    return tuple(
        augmentation._replace(apply=partial(augmentation.apply, rate_hz=rate_hz))
        if "rate_hz" in inspect.signature(augmentation.apply).parameters
        else augmentation
        for augmentation in augmentations
    )


def _parse(part: str) -> Augmentation:
    name, _, rest = part.partition(":")
    texts = dict(_pair(item, part) for item in rest.split(",")) if rest else {}
    if name not in AUGMENTATIONS:
        return make_augmentation(name)  # raises, with the known names
    apply = AUGMENTATIONS[name].apply
    kinds = typing.get_type_hints(apply)
    values: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            values[key] = read_value(text, kinds[key]) if key in kinds else text
        except (ValueError, KeyError):
            raise ValueError(f"augment={part}: {key}={text}: expected {kinds[key]}") from None
    augmentation = make_augmentation(name, **values)
    for key, parameter in inspect.signature(apply).parameters.items():
        if parameter.default is parameter.empty and key not in (*NOT_SET, *values):
            raise ValueError(f"augment={part}: {name} needs a value for {key}, such as {name}:{key}=...")
    return augmentation


def _pair(item: str, part: str) -> tuple[str, str]:
    key, _, text = item.partition("=")
    if not (key and text):
        raise ValueError(f"augment={part}: expected key=value after the colon, got {item!r}")
    return key, text


def label_factor(augmentations: tuple[Augmentation, ...]) -> int:
    """Factor by which all augmentations together multiply the classes: 1, or such as 3, 9 or 11."""
    return math.prod(augmentation.label_factor for augmentation in augmentations)


class Augmenter:
    """Augmentations applied with one generator; keep: first column of the exchanged branches."""

    def __init__(self, augmentations: tuple[Augmentation, ...], rng: torch.Generator, keep: int | None = None) -> None:
        self.augmentations = augmentations
        self.rng = rng
        self.keep = keep

    def waves(self, waves: Tensor, target: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Augment waves (batch, time) and labels; only those of `target` become labels of further classes."""
        for augmentation in self.augmentations:
            if augmentation.on == "waves":
                labels = torch.cat([target, others], dim=1)
                if augmentation.label_factor > 1:
                    waves, target = augmentation.apply(waves, target, rng=self.rng)
                else:
                    waves, labels = augmentation.apply(waves, labels, rng=self.rng)
                    target, others = labels[:, : target.shape[1]], labels[:, target.shape[1] :]
        return waves, target, others

    def features(self, features: Features, target: Tensor) -> tuple[Features, Tensor]:
        """Augment all inputs of a network with the same random numbers, and labels."""
        for apply in self._on("features"):
            features, target = self._alike(apply, features, target)
        return features, target

    def spectrograms(self, features: Features, target: Tensor) -> tuple[Features, Tensor]:
        """Augment all spectrograms (batch, frequency, frame) among the inputs alike, and labels."""
        for apply in self._on("spectrogram"):
            spectrograms = tuple(x.transpose(1, 2) for x in features if x.ndim == 3)
            if not spectrograms:
                raise ValueError("this network has no spectrogram among its inputs; augment waves instead")
            spectrograms, target = self._alike(apply, spectrograms, target)
            augmented = iter(spectrograms)
            features = tuple(next(augmented).transpose(1, 2) if x.ndim == 3 else x for x in features)
        return features, target

    def branches(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Augment embeddings (batch, dim) and labels."""
        for apply in self._on("branches"):
            given = getattr(apply, "keywords", {})
            keep = {} if self.keep is None or "keep" in given else {"keep": self.keep}
            z, target = apply(z, target, rng=self.rng, **keep)
        return z, target

    def _on(self, stage: str) -> list[Callable[..., tuple[Tensor, Tensor]]]:
        return [augmentation.apply for augmentation in self.augmentations if augmentation.on == stage]

    def _alike(self, apply: Callable[..., Any], inputs: Features, target: Tensor) -> tuple[Features, Tensor]:
        """Augment several inputs with the same random numbers."""
        start = self.rng.get_state()
        augmented, labels = [], target
        for x in inputs:
            self.rng.set_state(start)
            output, labels = apply(x, target, rng=self.rng)
            augmented.append(output)
        return tuple(augmented), labels
