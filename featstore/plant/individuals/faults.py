"""What the faults of the simulated machines move: quantities in which individuals differ too, in tolerances."""

from collections.abc import Mapping
from types import MappingProxyType

SEVERITIES = (0.5, 0.75, 1.0)

WEAR = 0.2
"""Share of the wear of `machines` that a fault has besides: sounds that no healthy machine makes, here faint ones."""

SHIFTS: Mapping[str, Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "bearing": {
            "outer_race": {"housing": 3.0, "damping": 2.0},
            "inner_race": {"tilt": 3.0, "housing": 2.0},
            "ball": {"flow": 3.0, "housing": 2.0},
            "dry_grease": {"damping": 3.0, "flow": 2.0},
        },
        "fan": {
            "imbalance": {"mounting": 3.0, "tilt": 2.0},
            "blade_damage": {"tilt": 3.0, "flow": 2.0},
            "clogging": {"flow": 3.0, "damping": 2.0},
            "rattle": {"mounting": 3.0, "damping": 2.0},
        },
        "gearbox": {
            "tooth_damage": {"tilt": 3.0, "housing": 2.0},
            "tooth_wear": {"tilt": 3.0, "damping": 2.0},
            "looseness": {"mounting": 3.0, "damping": 2.0},
            "bearing_wear": {"housing": 3.0, "flow": 2.0},
        },
        "pump": {
            "cavitation": {"flow": 3.0, "housing": 2.0},
            "leakage": {"flow": 3.0, "damping": 2.0},
            "clogging": {"flow": 3.0, "tilt": 2.0},
            "bearing_wear": {"housing": 3.0, "mounting": 2.0},
        },
        "slider": {
            "rail_scratch": {"housing": 3.0, "damping": 2.0},
            "belt_slip": {"tilt": 3.0, "mounting": 2.0},
            "dry_rail": {"flow": 3.0, "damping": 2.0},
            "looseness": {"mounting": 3.0, "housing": 2.0},
        },
        "valve": {
            "sticking": {"damping": 3.0, "housing": 2.0},
            "leakage": {"flow": 3.0, "damping": 2.0},
            "chatter": {"mounting": 3.0, "damping": 2.0},
            "weak_spring": {"housing": 3.0, "mounting": 2.0},
        },
    }
)
"""Fault of a machine -> quantity -> how many tolerances it moves at severity 1."""
