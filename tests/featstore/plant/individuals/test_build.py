"""Individuals: fixed by seed, type and number, and faults that move what differs among them."""

import numpy as np
import pytest

from featstore.plant.individuals.build import TOLERANCES, Build, build_of
from featstore.plant.individuals.faults import SHIFTS, quantities_of
from featstore.plant.individuals.fleet import Fleet
from featstore.plant.machines import MACHINES


def test_an_individual_depends_on_seed_type_and_number_only():
    assert build_of(0, "fan", 2) == build_of(0, "fan", 2)
    others = [build_of(0, "fan", 3), build_of(0, "pump", 2), build_of(1, "fan", 2)]
    assert all(build_of(0, "fan", 2) != other for other in others)


def test_individuals_are_spread_by_one_tolerance():
    names = quantities_of("fan")
    tolerances = np.array([TOLERANCES[name] for name in names])
    values = np.array([[build_of(0, "fan", n).of(name) for name in names] for n in range(400)])
    np.testing.assert_allclose(values.mean(0) / tolerances, 0, atol=0.2)
    np.testing.assert_allclose(values.std(0), tolerances, rtol=0.1)
    assert build_of(0, "fan", 0).of("housing") == 0, "no quantity of fans"


def test_a_fault_moves_its_quantities_across_the_middle():
    build = Build({"mounting": -1.0, "flow": 0.5}, slip=0.03)
    moved = build.moved({"mounting": 3.0, "flow": 2.0}, 0.5)
    assert moved.deviations == {"mounting": 0.5, "flow": -0.5}
    assert moved.slip == build.slip
    assert build.moved({"mounting": 3.0}, 0.0) == build


@pytest.mark.parametrize("machine", MACHINES)
def test_every_fault_moves_quantities_and_there_are_fewer_than_individuals(machine):
    assert set(SHIFTS[machine]) == set(MACHINES[machine].faults)
    assert set(quantities_of(machine)) <= set(TOLERANCES)
    assert 0 < len(quantities_of(machine)) < Fleet().ids
    assert all(size > 0 for shift in SHIFTS[machine].values() for size in shift.values())
