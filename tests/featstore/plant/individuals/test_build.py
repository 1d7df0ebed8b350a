"""Individuals: fixed by seed, type and number, and faults that move what differs among them."""

import numpy as np
import pytest

from featstore.plant.individuals.build import TOLERANCES, Build, build_of
from featstore.plant.individuals.faults import SHIFTS
from featstore.plant.machines import MACHINES


def test_an_individual_depends_on_seed_type_and_number_only():
    assert build_of(0, "fan", 2) == build_of(0, "fan", 2)
    others = [build_of(0, "fan", 3), build_of(0, "pump", 2), build_of(1, "fan", 2)]
    assert all(build_of(0, "fan", 2) != other for other in others)


def test_individuals_are_spread_by_one_tolerance():
    values = np.array([[build_of(0, "fan", n).of(name) for name in TOLERANCES] for n in range(400)])
    np.testing.assert_allclose(values.mean(0) / list(TOLERANCES.values()), 0, atol=0.2)
    np.testing.assert_allclose(values.std(0), list(TOLERANCES.values()), rtol=0.1)


def test_a_fault_moves_its_quantities_across_the_middle():
    build = Build({"mounting": -1.0, "flow": 0.5}, slip=0.03)
    moved = build.moved({"mounting": 3.0, "flow": 2.0}, 0.5)
    assert moved.deviations == {"mounting": 0.5, "flow": -0.5}
    assert moved.slip == build.slip
    assert build.moved({"mounting": 3.0}, 0.0) == build


@pytest.mark.parametrize("machine", MACHINES)
def test_every_fault_moves_known_quantities_and_every_quantity_is_moved(machine):
    assert set(SHIFTS[machine]) == set(MACHINES[machine].faults)
    moved = {name for shift in SHIFTS[machine].values() for name in shift}
    assert moved <= set(TOLERANCES)
    assert all(size > 0 for shift in SHIFTS[machine].values() for size in shift.values())
