"""Anomalies made in embedding space, for embeddings that have no audio to make anomalies of.

A perturbation moves a clip's embedding in a direction that says something about faults. Everything happens in
coordinates in which the section's normal clips spread by 1 along every dimension, because imported features come in
unlike units. Severity has one unit: dB of the length of the change against the root mean square distance of the
section's normal clips from their centre, in those coordinates. At 0 dB a clip moves as far as clips typically lie from
the centre. The bank that gives centre, spread and neighbours is the one that the perturbed clip is scored by, so it
holds neither the clip nor a copy of it.

What is not here ranked candidates by noise or the wrong way round on real anomalies (scripts/bench_selection_mimii.py):
moving towards another clip, noise along the directions in which normal clips vary most, noise shaped as they vary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

VERSION = 1
"""Counts changes of what is made of the same clip, so that scores of older ones are not taken for these."""

SHARE = (0.05, 0.4)
"""Least and greatest share of the dimensions in a block."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Normal clips Z (n, d) of a section in coordinates of unit spread; a dimension without any spread is not moved."""

    centre: np.ndarray
    scale: np.ndarray
    Z: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "Bank":
        """From embeddings (n, d)."""
        X = np.asarray(X, dtype=np.float64)
        centre, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 1e-6 * np.abs(X).max(axis=0), scale, 0.0)  # float32 rounding of a constant is none
        return cls(centre, scale, _divided(X - centre, scale))

    def place(self, X: np.ndarray) -> np.ndarray:
        """Embeddings (m, d) in the bank's coordinates."""
        return _divided(np.asarray(X, dtype=np.float64) - self.centre, self.scale)

    @cached_property
    def spread(self) -> float:
        """Root mean square distance of the clips from their centre."""
        return float(np.sqrt(np.square(self.Z).sum(axis=1).mean()))


def _divided(X: np.ndarray, by: np.ndarray) -> np.ndarray:
    """X / by, and 0 where `by` is 0."""
    return np.asarray(np.divide(X, by, out=np.zeros_like(X, dtype=np.float64), where=by > 0))


Rngs = Sequence[np.random.Generator]
Move = Callable[[np.ndarray, Bank, Rngs, np.ndarray], np.ndarray]
"""(Z, bank, a generator per clip, donors) -> directions (m, d) of any length; all in the bank's coordinates."""


def noise(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """A random direction, every dimension alike: nearly all of it lies where normal clips hardly vary."""
    return np.array([rng.standard_normal(Z.shape[1]) for rng in rngs])


def block(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """Neighbouring dimensions moved together, up or down, as a tone moves neighbouring bands."""
    return np.array([_inside(rng, Z.shape[1]) * rng.choice([-1.0, 1.0]) for rng in rngs])


def exchange(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """Neighbouring dimensions moved towards another clip."""
    return np.asarray(np.array([_inside(rng, Z.shape[1]) for rng in rngs]) * (donors - Z))


def apart(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """Away from the nearest normal clip."""
    squared = np.square(bank.Z).sum(axis=1) - 2 * (Z @ bank.Z.T)
    return np.asarray(Z - bank.Z[squared.argmin(axis=1)])


def away(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """Away from another clip."""
    return np.asarray(Z - donors)


def _inside(rng: np.random.Generator, d: int) -> np.ndarray:
    """1 for a block of neighbouring dimensions (d,), 0 elsewhere."""
    width = max(1, round(rng.uniform(*SHARE) * d))
    start = int(rng.uniform() * (d - width + 1))
    inside = np.zeros(d)
    inside[start : start + width] = 1
    return inside


@dataclass(frozen=True)
class Perturbation:
    """A move, and whether it needs a donor: a clip of another machine, of another section where there is only one."""

    move: Move
    donor: bool = False


PERTURBATIONS: dict[str, Perturbation] = {
    "noise": Perturbation(noise),
    "block": Perturbation(block),
    "exchange": Perturbation(exchange, donor=True),
    "apart": Perturbation(apart),
    "away": Perturbation(away, donor=True),
}


def find(name: str) -> Perturbation:
    """The perturbation called `name`; ValueError lists the known ones."""
    if name not in PERTURBATIONS:
        raise ValueError(f"unknown perturbation {name!r}; choose from {', '.join(PERTURBATIONS)}")
    return PERTURBATIONS[name]


def perturb(
    name: str, X: np.ndarray, bank: Bank, severity_db: float, *, rngs: Rngs, donors: np.ndarray | None = None
) -> np.ndarray:
    """Rows X (m, d) changed by a length that the severity asks for; donors (m, d) as the perturbation needs.

    A clip that has no direction to go (it lies on the clip it would move away from) stays where it is.
    """
    found = find(name)
    if (donors is None) == found.donor or len(rngs) != len(X):
        raise ValueError(f"{name}: expected one generator per clip{' and a donor' if found.donor else ', no donor'}")
    Z = bank.place(X)
    direction = found.move(Z, bank, rngs, Z if donors is None else bank.place(donors)) * (bank.scale > 0)
    length = np.sqrt(np.square(direction).sum(axis=1, keepdims=True))
    step = bank.spread * 10 ** (severity_db / 20)
    return np.asarray(X + _divided(direction * step, np.broadcast_to(length, direction.shape)) * bank.scale)
