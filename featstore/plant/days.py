"""Days of the simulated plant: how the background of a machine drifts from day to day.

The level of the background and its spectrum follow a stationary first-order process: a day resembles the one before it
(correlation KEPT) and differs from a day long before it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from featstore.plant.grid import rng_of

LEVEL_DB, RIPPLE_DB = 3.0, 1.5
"""Standard deviations over the days: of the level, and of each ripple of the spectrum."""

KEPT = 0.7
RIPPLES = 8


@dataclass(frozen=True)
class Drift:
    """Background of one day: its level in dB, and weights of the ripples of its spectrum in dB."""

    level_db: float = 0.0
    ripples_db: tuple[float, ...] = (0.0,) * RIPPLES


@lru_cache(maxsize=1024)
def drift_of(seed: int, machine: str, day: int) -> Drift:
    """Drift of a day, counted from 1; day 0 is a plant without days."""
    if day == 0:
        return Drift()
    spread = np.array([LEVEL_DB, *[RIPPLE_DB] * RIPPLES])
    new = rng_of(seed, machine, "day", day).normal(0, spread)
    if day > 1:
        before = drift_of(seed, machine, day - 1)
        new = KEPT * np.array([before.level_db, *before.ripples_db]) + np.sqrt(1 - KEPT**2) * new
    level, *ripples = new.tolist()
    return Drift(level, tuple(ripples))


def days_of_tests(days: int) -> int:
    """How many of the days, the last ones, have test clips only."""
    return max(1, days // 3)


def draw_day(rng: np.random.Generator, days: int, split: str) -> int:
    """Day of a clip: one of the first for a training clip, one of the last for a test clip."""
    last = days_of_tests(days)
    return int(rng.integers(1, days - last + 1) if split == "train" else rng.integers(days - last + 1, days + 1))
