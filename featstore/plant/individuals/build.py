"""How one machine differs from others of its type: the quantities that manufacturing and mounting leave open.

A build is a deviation per quantity, in tolerances: individuals of a type are normally distributed with a standard
deviation of one tolerance. A fault moves the same quantities, by about as much as two individuals differ, across the
middle of the type: a faulty machine sounds like another healthy one. A type has three quantities, fewer than it has
individuals by default, so whoever tells the individuals apart has to hear all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import copysign

from featstore.plant.grid import rng_of
from featstore.plant.individuals.faults import quantities_of

TOLERANCES = {
    "mounting": 0.12,  # octaves: the lower half of the resonances of the housing
    "housing": 0.09,  # octaves: the upper half
    "tilt": 3.0,  # dB per octave of the order, above the eighth
    "flow": 0.4,  # octaves: centre of flow, friction and rolling noise
}
"""One tolerance of every quantity, in its unit."""

SLIP = 0.02, 0.04
"""Lowest and highest slip of the motors: how much slower than the field they turn."""


@dataclass(frozen=True)
class Build:
    """One individual: its deviations in tolerances, by quantity where there is one, and the slip of its motor."""

    deviations: Mapping[str, float]
    slip: float

    def of(self, quantity: str) -> float:
        """Deviation of a quantity, in its unit."""
        return self.deviations.get(quantity, 0.0) * TOLERANCES[quantity]

    def moved(self, shift: Mapping[str, float], severity: float) -> "Build":
        """This machine with a fault, which moves quantities by `shift` tolerances at severity 1, towards the others."""
        moved = {
            name: value - copysign(severity * shift.get(name, 0.0), value) for name, value in self.deviations.items()
        }
        return replace(self, deviations=moved)


def build_of(seed: int, machine: str, number: int) -> Build:
    """The individual with that number; it does not depend on how many there are."""
    rng = rng_of(seed, machine, "build", number)
    quantities = quantities_of(machine)
    deviations = dict(zip(quantities, rng.normal(size=len(quantities)).tolist(), strict=True))
    return Build(deviations, float(rng.uniform(*SLIP)))
