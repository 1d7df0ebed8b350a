"""What training does to clips and labels: pure functions of a batch and a torch generator, in one table.

Each takes a batch and its labels `target` (batch, n_classes) float, and returns both anew; the generator alone decides,
on whatever device it lives. Waves are (batch, time); spectrograms S (batch, ..., frame, mel), or else the two axes are
given as `frame` and `mel`; branches are embeddings (batch, dim) whose parts stand side by side; what works on features
works on all inputs of a network, with the same draws for each.
Exchanges triple the classes: [y, 0, 0] for clips left alone, [0, y / 2, partner's y / 2] for exchanged ones.
"""

import difflib
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

SMALLEST_STD = 1e-5

Batch = tuple[Tensor, Tensor]


class Augmentation(NamedTuple):
    """A function of (batch, target, rng=...), what it works on, and by how much it multiplies the classes."""

    apply: Callable[..., Batch]
    on: Literal["waves", "features", "spectrogram", "branches"]
    label_factor: int = 1


def mixup(
    x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 1.0, alpha: float = 1.0, per_batch: bool = False
) -> Batch:
    """Mix each clip with probability p with another, labels alike; Zhang et al. 2018.

    The share is drawn from Beta(alpha, alpha), uniform at alpha 1. `per_batch` draws one share, and one coin, for
    the whole batch. x is waves, or anything else with the batch in front.
    """
    _check_probability(p)
    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: expected more than 0")
    n = len(x)
    draws = 1 if per_batch else n
    share = torch.where(_coin(draws, p, rng), _beta(draws, alpha, rng), torch.ones(draws)).expand(n)
    other = _partner(n, rng).to(x.device)
    return _blend(x, x[other], share), _blend(target, target[other], share)


def statex(x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 0.5, over: int = -2) -> Batch:
    """Give each clip with probability p a partner's mean and standard deviation over axis `over`; Chen et al. 2023.

    Over the frames (-2) every mel band takes the partner's level and spread; over the bands (-1) every frame does.
    The classes triple; a clip alone in its batch has no partner and stays as it is.
    """
    _check_probability(p)
    chosen, other = _exchange(len(x), p, rng, x.device)
    mean = x.mean(dim=over, keepdim=True)
    std = x.std(dim=over, keepdim=True, correction=0).clamp_min(SMALLEST_STD)
    moved = (x - mean) / std * std[other] + mean[other]
    return torch.where(_like(chosen, x), moved, x), tripled(target, chosen, other)


def featex(x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 0.5, keep: int | None = None) -> Batch:
    """Give each clip with probability p a partner's columns of x (batch, dim) from `keep` on; Wilkinghoff 2024.

    `keep` is where the exchanged branch begins, by default the middle. The classes triple.
    """
    _check_probability(p)
    chosen, other = _exchange(len(x), p, rng, x.device)
    start = x.shape[1] // 2 if keep is None else keep
    if not 0 < start < x.shape[1]:
        raise ValueError(f"keep={keep}: expected a column inside the embedding's {x.shape[1]}")
    moved = torch.cat([x[:, :start], x[other, start:]], dim=1)
    return torch.where(_like(chosen, x), moved, x), tripled(target, chosen, other)


def specaugment(  # noqa: PLR0913 - two masks of two numbers each
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
    """Set a run of frames, and a run of mel bands, each with probability p, to the clip's mean; Park et al. 2019.

    A run is uniformly 0 to `max_frames` (or `max_mels`) long, and no longer than the axis.
    """
    _check_probability(p)
    fill = x.mean(dim=tuple(range(1, x.ndim)))
    for axis, longest in ((frame, max_frames), (mel, max_mels)):
        hidden = _runs(len(x), x.shape[axis], longest, p, rng).to(x.device)
        shape = [len(x)] + [1] * (x.ndim - 1)
        shape[axis] = x.shape[axis]
        x = torch.where(hidden.view(shape), _like(fill, x), x)
    return x, target


def crop(x: Tensor, target: Tensor, *, rng: torch.Generator, length: int) -> Batch:
    """Cut each wave (batch, time) to `length` samples at random, or tile a shorter one from a random start."""
    if length < 1 or not x.shape[1]:
        raise ValueError(f"cannot cut {length} samples out of {x.shape[1]}: expected at least 1 of each")
    time = x.shape[1]
    places = time - length + 1 if time >= length else time
    start = torch.randint(places, (len(x),), generator=rng, device=rng.device)
    return _roll(x, start, length), target


def shift(x: Tensor, target: Tensor, *, rng: torch.Generator, most: float = 1.0) -> Batch:
    """Roll each wave (batch, time) around by a random part, up to `most`, of its length."""
    _check_probability(most)
    part = torch.rand(len(x), generator=rng, device=rng.device) * most
    return _roll(x, (part * x.shape[1]).long(), x.shape[1]), target


def gain(x: Tensor, target: Tensor, *, rng: torch.Generator, max_db: float = 6.0) -> Batch:
    """Multiply each clip by a level drawn uniformly from -max_db to max_db."""
    if not 0 <= max_db < math.inf:
        raise ValueError(f"max_db={max_db}: expected at least 0 dB")
    level_db = (2 * torch.rand(len(x), generator=rng, device=rng.device) - 1) * max_db
    return x * _like((10 ** (level_db / 20)).to(x), x), target


AUGMENTATIONS = {
    "mixup": Augmentation(mixup, "waves"),
    "mix_features": Augmentation(mixup, "features"),
    "crop": Augmentation(crop, "waves"),
    "shift": Augmentation(shift, "waves"),
    "gain": Augmentation(gain, "waves"),
    "specaugment": Augmentation(specaugment, "spectrogram"),
    "statex": Augmentation(statex, "spectrogram", label_factor=3),
    "featex": Augmentation(featex, "branches", label_factor=3),
}


def make_augmentation(name: str, **params: Any) -> Augmentation:
    """Augmentation by name with its parameters bound; ValueError lists the known, with the nearest first."""
    if name not in AUGMENTATIONS:
        raise ValueError(_unknown("augmentation", name, list(AUGMENTATIONS)))
    made = AUGMENTATIONS[name]
    known = [key for key in inspect.signature(made.apply).parameters if key not in ("x", "target", "rng")]
    for key in params:
        if key not in known:
            raise ValueError(_unknown(f"parameter of {name}", key, known))
    return made._replace(apply=partial(made.apply, **params))


def tripled(target: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Labels over three times the classes: [y, 0, 0] where not chosen, [0, y / 2, y[other] / 2] where chosen."""
    swap = chosen.to(target)[:, None]
    return torch.cat([target * (1 - swap), target * swap / 2, target[other] * swap / 2], dim=1)


def _exchange(n: int, p: float, rng: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Who is exchanged, (n,) bool, and with whom, (n,) int64; nobody where there is no one else."""
    chosen = _coin(n, p, rng) if n > 1 else torch.zeros(n, dtype=torch.bool)
    return chosen.to(device), _partner(n, rng).to(device)


def _partner(n: int, rng: torch.Generator) -> Tensor:
    """Another clip for each of n, every clip once: the next on a random circle."""
    circle = torch.randperm(n, generator=rng, device=rng.device)
    return torch.empty_like(circle).scatter_(0, circle, circle.roll(-1))


def _coin(n: int, p: float, rng: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=rng, device=rng.device) < p).cpu()


def _beta(n: int, alpha: float, rng: torch.Generator) -> Tensor:
    """Draws from Beta(alpha, alpha), float32: by numpy, because torch's own take no generator."""
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n).astype(np.float32))


def _runs(n: int, size: int, longest: int, p: float, rng: torch.Generator) -> Tensor:
    """One run of True in each of n rows of `size`, with probability p, (n, size)."""
    if longest < 0:
        raise ValueError(f"a mask of up to {longest} is impossible; expected at least 0")
    u = torch.rand(2, n, generator=rng, device=rng.device).cpu()
    length = (u[0] * (min(longest, size) + 1)).long() * _coin(n, p, rng)
    start = (u[1] * (size - length + 1)).long()
    place = torch.arange(size)
    return (place >= start[:, None]) & (place < (start + length)[:, None])


def _roll(x: Tensor, start: Tensor, length: int) -> Tensor:
    """For each row of x (batch, time), `length` samples from `start` on, going round."""
    place = (start.to(x.device)[:, None] + torch.arange(length, device=x.device)) % x.shape[1]
    return x.gather(1, place)


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = _like(share.to(x), x)
    return share * x + (1 - share) * other


def _like(row: Tensor, x: Tensor) -> Tensor:
    """Values (batch,) as (batch, 1, ...), to go with x."""
    return row.view(-1, *[1] * (x.ndim - 1))


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"expected a number in [0, 1], got {p}")


def _unknown(what: str, name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"unknown {what}: {name!r}; {hint}choose from {', '.join(known)}"
