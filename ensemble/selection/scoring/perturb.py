"""Perturbations: anomalies made in embedding space, for embeddings without audio.

A perturbation moves the embedding of a clip, in coordinates in which the section's normal clips have a standard
deviation of 1 in every dimension, because imported features have different units. Severity is the length of the change
in dB, relative to the root mean square distance of the section's normal clips from their centre. At 0 dB a clip moves
as far as normal clips are from the centre. Centre, deviation and neighbours come from the bank that scores the
perturbed clip, which contains neither the clip nor a copy of it.

Three other perturbations are left out, because they ranked candidates at random or in the wrong order on real anomalies
(scripts/bench_selection_mimii.py): moving towards another clip, noise along the directions in which normal clips vary
most, and noise with the covariance of normal clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

VERSION = 1
"""Version of the perturbations: scores in the cache of another version are not used."""

SHARE = (0.05, 0.4)
"""Smallest and largest share of the dimensions in a block."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Normal clips Z (n, d) of a section, standardised; a constant dimension has scale 0 and is not changed."""

    centre: np.ndarray
    scale: np.ndarray
    Z: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "Bank":
        """From embeddings (n, d)."""
        X = np.asarray(X, dtype=np.float64)
        centre, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 1e-6 * np.abs(X).max(axis=0), scale, 0.0)  # float32 rounding makes constants vary
        return cls(centre, scale, _divided(X - centre, scale))

    def standardised(self, X: np.ndarray) -> np.ndarray:
        """Embeddings (m, d) in the coordinates of Z."""
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
"""(Z, bank, a generator per clip, donors) -> directions (m, d) of any length; all arrays are standardised."""


def noise(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """A random direction, equal in all dimensions: mostly where normal clips vary little."""
    return np.array([rng.standard_normal(Z.shape[1]) for rng in rngs])


def block(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """A block of neighbouring dimensions moves together, up or down, as neighbouring bands do for a tone."""
    return np.array([_block_mask(rng, Z.shape[1]) * rng.choice([-1.0, 1.0]) for rng in rngs])


def exchange(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """A block of neighbouring dimensions moves towards the donor."""
    return np.asarray(np.array([_block_mask(rng, Z.shape[1]) for rng in rngs]) * (donors - Z))


def apart(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """Away from the nearest normal clip."""
    squared = np.square(bank.Z).sum(axis=1) - 2 * (Z @ bank.Z.T)
    return np.asarray(Z - bank.Z[squared.argmin(axis=1)])


def away(Z: np.ndarray, bank: Bank, rngs: Rngs, donors: np.ndarray) -> np.ndarray:
    """Away from the donor."""
    return np.asarray(Z - donors)


def _block_mask(rng: np.random.Generator, d: int) -> np.ndarray:
    """1 in a random block of neighbouring dimensions, 0 elsewhere, (d,)."""
    width = max(1, round(rng.uniform(*SHARE) * d))
    start = int(rng.uniform() * (d - width + 1))
    mask = np.zeros(d)
    mask[start : start + width] = 1
    return mask


@dataclass(frozen=True)
class Perturbation:
    """A move; donor: whether it needs a clip of another machine (of another section if there is one machine)."""

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
    """Rows X (m, d) changed by the severity; donors (m, d) where the perturbation needs them.

    A clip without a direction is unchanged: it equals the clip that it would move away from.
    """
    perturbation = find(name)
    if (donors is None) == perturbation.donor or len(rngs) != len(X):
        needs = "and a donor" if perturbation.donor else "and no donor"
        raise ValueError(f"{name}: expected one generator per clip {needs}; got {len(rngs)} for {len(X)} clips")
    Z = bank.standardised(X)
    direction = perturbation.move(Z, bank, rngs, Z if donors is None else bank.standardised(donors)) * (bank.scale > 0)
    length = np.sqrt(np.square(direction).sum(axis=1, keepdims=True))
    step = bank.spread * 10 ** (severity_db / 20)
    return np.asarray(X + _divided(direction * step, np.broadcast_to(length, direction.shape)) * bank.scale)
