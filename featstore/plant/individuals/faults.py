"""What the faults of the simulated machines move: quantities in which individuals differ too, in tolerances."""

from collections.abc import Mapping
from types import MappingProxyType

SEVERITIES = (0.5, 0.75, 1.0)

WEAR = 0.2
"""Share of the wear of `machines` that a fault has besides: sounds that no healthy machine makes, here faint ones."""

SHIFTS: Mapping[str, Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "bearing": {
            "outer_race": {"housing": 2.0, "tilt": 1.4},
            "inner_race": {"tilt": 2.0, "housing": 1.4},
            "ball": {"housing": 2.0, "flow": 1.4},
            "dry_grease": {"flow": 2.4},
        },
        "fan": {
            "imbalance": {"mounting": 2.0, "tilt": 1.4},
            "blade_damage": {"tilt": 2.0, "flow": 1.4},
            "clogging": {"flow": 2.0, "tilt": 1.4},
            "rattle": {"mounting": 2.4},
        },
        "gearbox": {
            "tooth_damage": {"tilt": 2.0, "housing": 1.4},
            "tooth_wear": {"tilt": 2.4},
            "looseness": {"mounting": 2.0, "housing": 1.4},
            "bearing_wear": {"housing": 2.4},
        },
        "pump": {
            "cavitation": {"flow": 2.0, "housing": 1.4},
            "leakage": {"flow": 2.0, "tilt": 1.4},
            "clogging": {"tilt": 2.0, "flow": 1.4},
            "bearing_wear": {"housing": 2.4},
        },
        "slider": {
            "rail_scratch": {"housing": 2.4},
            "belt_slip": {"mounting": 2.0, "flow": 1.4},
            "dry_rail": {"flow": 2.4},
            "looseness": {"mounting": 2.0, "housing": 1.4},
        },
        "valve": {
            "sticking": {"housing": 2.0, "flow": 1.4},
            "leakage": {"flow": 2.4},
            "chatter": {"mounting": 2.0, "housing": 1.4},
            "weak_spring": {"housing": 2.0, "mounting": 1.4},
        },
    }
)
"""Fault of a machine -> quantity -> how many tolerances it moves at severity 1."""


def quantities_of(machine: str) -> tuple[str, ...]:
    """The quantities in which individuals of a type differ: those that some fault moves."""
    return tuple(sorted({quantity for shift in SHIFTS[machine].values() for quantity in shift}))
