"""Augmentations that define a task by transforming waves: which transform was applied, or which two views are one clip.

The ranges of the classes are those of ATAC at 16 kHz; those of the views are ours, since none were published.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from featstore.anomalies import transforms

Draw = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""Transform a wave float32 (time,) of a sample rate in Hz by an amount drawn from a generator."""

LARGEST_SHARE = 0.1  # of the frequencies or of the time that is removed


def transform(x: Tensor, target: Tensor, *, rng: torch.Generator, rate_hz: int = 16000) -> tuple[Tensor, Tensor]:
    """Apply one of the CLASSES, drawn uniformly, to each wave (batch, time); the label is class and transform.

    The classes are repeated once per transform; the first copy is of untouched clips.
    """
    choices, seeds = _drawn(len(x), rng)
    kinds = (choices * len(CLASSES)).astype(int)
    draws = list(CLASSES.values())
    waves = _applied(x, rate_hz, [[draws[kind]] for kind in kinds], seeds)
    kind = torch.nn.functional.one_hot(torch.from_numpy(kinds), len(CLASSES)).to(target)
    return waves, (kind[:, :, None] * target[:, None]).flatten(1)


def views(
    x: Tensor, target: Tensor, *, rng: torch.Generator, p: float = 0.5, rate_hz: int = 16000
) -> tuple[Tensor, Tensor]:
    """Two views of each wave: (batch, time) to (2 batch, time), where rows i and i + batch are views of one clip.

    Each of VIEWS is applied to each view with probability p.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"views: p={p}, expected a probability in [0, 1]")
    twice = x.repeat(2, 1)
    _, seeds = _drawn(len(twice), rng)
    chosen = [np.random.default_rng((seed, 1)).uniform(size=len(VIEWS)) < p for seed in seeds.tolist()]
    draws = [[draw for draw, use in zip(VIEWS.values(), row, strict=True) if use] for row in chosen]
    return _applied(twice, rate_hz, draws, seeds), target.repeat(2, 1)


def _drawn(n: int, rng: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in [0, 1) and seeds, (n,) each."""
    choices = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64).cpu().numpy()
    return choices, torch.randint(2**62, (n,), generator=rng, device=rng.device).cpu().numpy()


def _applied(x: Tensor, rate_hz: int, draws: Sequence[Sequence[Draw]], seeds: np.ndarray) -> Tensor:
    """Each wave after its transforms, in order; a wave without any is not changed."""
    before, out = x.float().cpu().numpy(), x.clone()
    rows = [i for i, chosen in enumerate(draws) if chosen]
    after = before[rows]
    for wave, i in zip(after, rows, strict=True):
        generator = np.random.default_rng(int(seeds[i]))
        changed = before[i]
        for draw in draws[i]:
            changed = draw(changed, rate_hz, generator)
        wave[:] = changed
    out[rows] = torch.from_numpy(after).to(out)
    return out


def _tempo(wave: np.ndarray, rate_hz: int, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    return transforms.tempo_by(wave, rate_hz, rng.uniform(low, high))


def _pitch(wave: np.ndarray, rate_hz: int, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Range in semitones."""
    return transforms.pitch_by(wave, rate_hz, 2 ** (rng.uniform(low, high) / 12))


def _gain(wave: np.ndarray, rate_hz: int, rng: np.random.Generator, low_db: float, high_db: float) -> np.ndarray:
    return transforms.gain_by(wave, rng.uniform(low_db, high_db))


def _noise(wave: np.ndarray, rate_hz: int, rng: np.random.Generator, low_db: float, high_db: float) -> np.ndarray:
    return transforms.add_noise(wave, rng.uniform(low_db, high_db), rng)


def _band(wave: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    return transforms.remove_band(wave, *_span(rng))


def _mask(wave: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    return transforms.remove_time(wave, *_span(rng))


def _shift(wave: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    return np.roll(wave, rng.integers(len(wave)))


def _span(rng: np.random.Generator) -> tuple[float, float]:
    """Start and end of a span of up to LARGEST_SHARE, at a random place in [0, 1]."""
    size = rng.uniform(0, LARGEST_SHARE)
    start = rng.uniform(0, 1 - size)
    return start, start + size


CLASSES: dict[str, Draw] = {
    "untouched": lambda wave, rate_hz, rng: wave,
    "slower": partial(_tempo, low=0.75, high=0.95),
    "faster": partial(_tempo, low=1.05, high=1.33),
    "lower": partial(_pitch, low=-2.5, high=-0.5),
    "higher": partial(_pitch, low=0.5, high=2.5),
    "quieter": partial(_gain, low_db=-2.5, high_db=-0.5),
    "louder": partial(_gain, low_db=0.5, high_db=2.5),
    "noise": partial(_noise, low_db=-2, high_db=2),
    "bandstop": _band,
    "mask": _mask,
    "reversed": lambda wave, rate_hz, rng: wave[::-1],
}
"""What a clip can be taken for by `transform`; untouched first."""

VIEWS: dict[str, Draw] = {
    "shift": _shift,
    "tempo": partial(_tempo, low=0.9, high=1.1),
    "pitch": partial(_pitch, low=-1, high=1),
    "gain": partial(_gain, low_db=-6, high_db=6),
    "noise": partial(_noise, low_db=10, high_db=30),
    "bandstop": _band,
    "mask": _mask,
}
"""What a view of `views` may differ by, in the order of application."""
