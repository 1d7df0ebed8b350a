"""The table of augmentations: pure functions of a batch, its labels and a torch generator.

Each takes a batch and its labels `target` (batch, n_classes) float, and returns new ones; all random numbers come from
the generator, on its device. "waves" are (batch, time); a "spectrogram" is (batch, ..., frame, mel), or has its axes
given as `frame` and `mel`; "branches" are embeddings (batch, dim) of concatenated branches; "features" are all inputs
of a network, each augmented with the same random numbers.
Exchanges (statex, featex) triple the classes: labels become [y, 0, 0] for unchanged clips and
[0, y / 2, partner's y / 2] for exchanged ones. `transform` repeats them once per transform.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from embedders.training.transforms import CLASSES, transform, views
from featstore.spec import unknown

SMALLEST_STD = 1e-5

NOT_SET = ("x", "target", "rng", "rate_hz")
"""Arguments of augmentations that follow from the batch, the training and the network."""

Batch = tuple[Tensor, Tensor]


class Augmentation(NamedTuple):
    """A function of (batch, target, rng=...), its kind of input, and the factors of classes and clips.

    task: the augmentation defines what is learned, so held-out clips get it too, always with the same random numbers.
    """

    apply: Callable[..., Batch]
    on: Literal["waves", "features", "spectrogram", "branches"]
    label_factor: int = 1
    copies: int = 1
    task: bool = False


def mixup(
    x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 1.0, alpha: float = 1.0, per_batch: bool = False
) -> Batch:
    """Mix each clip with another with probability p, and their labels likewise; Zhang et al. 2018.

    The mixing share is from Beta(alpha, alpha), which is uniform at alpha 1. per_batch: one share and one decision for
    the whole batch. x: waves, or anything else whose first axis is the batch.
    """
    _check_probability(p)
    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: expected more than 0")
    n = len(x)
    draws = 1 if per_batch else n
    share = torch.where(_chance(draws, p, rng), _beta(draws, alpha, rng), torch.ones(draws)).expand(n)
    other = _partner(n, rng).to(x.device)
    return _mix(x, x[other], share), _mix(target, target[other], share)


def statex(x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 0.5, over: int = -2) -> Batch:
    """Give each clip with probability p a partner's mean and standard deviation over axis `over`; Chen et al. 2023.

    Over frames (-2) each mel band gets the partner's mean and deviation; over bands (-1) each frame does. The classes
    triple; a batch of a single clip is not changed.
    """
    _check_probability(p)
    chosen, other = _exchange(len(x), p, rng, x.device)
    mean = x.mean(dim=over, keepdim=True)
    std = x.std(dim=over, keepdim=True, correction=0).clamp_min(SMALLEST_STD)
    exchanged = (x - mean) / std * std[other] + mean[other]
    return torch.where(_like(chosen, x), exchanged, x), tripled(target, chosen, other)


def featex(x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 0.5, keep: int | None = None) -> Batch:
    """Give each clip with probability p a partner's columns of x (batch, dim) from `keep` on; Wilkinghoff 2024.

    keep: first column of the exchanged branches, by default the middle. The classes triple.
    """
    _check_probability(p)
    chosen, other = _exchange(len(x), p, rng, x.device)
    start = x.shape[1] // 2 if keep is None else keep
    if not 0 < start < x.shape[1]:
        raise ValueError(f"keep={keep}: expected 1 to {x.shape[1] - 1}, inside the embedding")
    exchanged = torch.cat([x[:, :start], x[other, start:]], dim=1)
    return torch.where(_like(chosen, x), exchanged, x), tripled(target, chosen, other)


def specaugment(  # noqa: PLR0913 - two masks with two parameters each
    x: Tensor,
    target: Tensor,
    *,
    rng: torch.Generator,
    p: float = 0.5,
    max_frames: int = 80,
    max_mels: int = 80,
    frame: int = -2,
    mel: int = -1,
) -> Batch:
    """Set a run of frames and a run of mel bands, each with probability p, to the clip's mean; Park et al. 2019.

    The length of a run is uniform from 0 to `max_frames` (`max_mels`), and at most the length of the axis.
    """
    _check_probability(p)
    fill = x.mean(dim=tuple(range(1, x.ndim)))
    for axis, longest in ((frame, max_frames), (mel, max_mels)):
        masked = _runs(len(x), x.shape[axis], longest, p, rng).to(x.device)
        shape = [len(x)] + [1] * (x.ndim - 1)
        shape[axis] = x.shape[axis]
        x = torch.where(masked.view(shape), _like(fill, x), x)
    return x, target


def crop(x: Tensor, target: Tensor, *, rng: torch.Generator, length: int) -> Batch:
    """Crop each wave (batch, time) to `length` samples at a random start; shorter waves are repeated."""
    if length < 1 or not x.shape[1]:
        raise ValueError(f"crop: length={length}, wave of {x.shape[1]} samples: expected at least 1 of each")
    time = x.shape[1]
    places = time - length + 1 if time >= length else time
    start = torch.randint(places, (len(x),), generator=rng, device=rng.device)
    return _rotate(x, start, length), target


def shift(x: Tensor, target: Tensor, *, rng: torch.Generator, most: float = 1.0) -> Batch:
    """Rotate each wave (batch, time) by a random share, up to `most`, of its length."""
    _check_probability(most)
    share = torch.rand(len(x), generator=rng, device=rng.device) * most
    return _rotate(x, (share * x.shape[1]).long(), x.shape[1]), target


def gain(x: Tensor, target: Tensor, *, rng: torch.Generator, max_db: float = 6.0) -> Batch:
    """Amplify each clip by a level drawn uniformly from -max_db to max_db."""
    if not 0 <= max_db < math.inf:
        raise ValueError(f"max_db={max_db}: expected 0 dB or more, and finite")
    level_db = (2 * torch.rand(len(x), generator=rng, device=rng.device) - 1) * max_db
    return x * _like((10 ** (level_db / 20)).to(x), x), target


AUGMENTATIONS = {
    "mixup": Augmentation(mixup, "waves"),
    "mix_features": Augmentation(mixup, "features"),
    "crop": Augmentation(crop, "waves"),
    "shift": Augmentation(shift, "waves"),
    "gain": Augmentation(gain, "waves"),
    "views": Augmentation(views, "waves", copies=2, task=True),
    "transform": Augmentation(transform, "waves", label_factor=len(CLASSES), task=True),
    "specaugment": Augmentation(specaugment, "spectrogram"),
    "statex": Augmentation(statex, "spectrogram", label_factor=3),
    "featex": Augmentation(featex, "branches", label_factor=3),
}


def make_augmentation(name: str, **params: Any) -> Augmentation:
    """Augmentation by name with its parameters set; ValueError for unknown names, with the nearest known one."""
    if name not in AUGMENTATIONS:
        raise ValueError(unknown("augmentation", name, list(AUGMENTATIONS)))
    augmentation = AUGMENTATIONS[name]
    known = [key for key in inspect.signature(augmentation.apply).parameters if key not in NOT_SET]
    for key in params:
        if key not in known:
            raise ValueError(unknown(f"parameter of {name}", key, known))
    return augmentation._replace(apply=partial(augmentation.apply, **params))


def tripled(target: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Labels over three times the classes: [0, y / 2, y[other] / 2] for chosen clips, [y, 0, 0] for others."""
    swap = chosen.to(target)[:, None]
    return torch.cat([target * (1 - swap), target * swap / 2, target[other] * swap / 2], dim=1)


def _exchange(n: int, p: float, rng: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which clips are exchanged, bool (n,), and each clip's partner, int64 (n,); none if n is 1."""
    chosen = _chance(n, p, rng) if n > 1 else torch.zeros(n, dtype=torch.bool)
    return chosen.to(device), _partner(n, rng).to(device)


def _partner(n: int, rng: torch.Generator) -> Tensor:
    """Another clip for each of n clips, every clip once: the next in a random cyclic order."""
    order = torch.randperm(n, generator=rng, device=rng.device)
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))


def _chance(n: int, p: float, rng: torch.Generator) -> Tensor:
    """True with probability p, n times."""
    return (torch.rand(n, generator=rng, device=rng.device) < p).cpu()


def _beta(n: int, alpha: float, rng: torch.Generator) -> Tensor:
    """n draws from Beta(alpha, alpha), float32, by numpy, because torch's function accepts no generator."""
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n).astype(np.float32))


def _runs(n: int, size: int, longest: int, p: float, rng: torch.Generator) -> Tensor:
    """One run of True in each of n rows of `size`, with probability p, (n, size)."""
    if longest < 0:
        raise ValueError(f"specaugment: max_frames or max_mels is {longest}, expected at least 0")
    u = torch.rand(2, n, generator=rng, device=rng.device).cpu()
    length = (u[0] * (min(longest, size) + 1)).long() * _chance(n, p, rng)
    start = (u[1] * (size - length + 1)).long()
    index = torch.arange(size)
    return (index >= start[:, None]) & (index < (start + length)[:, None])


def _rotate(x: Tensor, start: Tensor, length: int) -> Tensor:
    """`length` samples of each row of x (batch, time) from its `start` on, continued at its beginning."""
    index = (start.to(x.device)[:, None] + torch.arange(length, device=x.device)) % x.shape[1]
    return x.gather(1, index)


def _mix(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = _like(share.to(x), x)
    return share * x + (1 - share) * other


def _like(row: Tensor, x: Tensor) -> Tensor:
    """View values (batch,) as (batch, 1, ...), to broadcast against x."""
    return row.view(-1, *[1] * (x.ndim - 1))


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability in [0, 1], got {p}")
