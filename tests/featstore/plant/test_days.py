"""Days of the simulated plant: a stationary drift, and separate days for training and test clips."""

import numpy as np
import pytest

from featstore.plant.days import KEPT, LEVEL_DB, RIPPLE_DB, Drift, days_of_tests, draw_day, drift_of


def test_a_plant_without_days_does_not_drift():
    assert drift_of(0, "fan", 0) == Drift(0.0, (0.0,) * 8)


def test_the_drift_is_stationary_and_a_day_resembles_the_one_before():
    days = [drift_of(seed, "fan", day) for seed in range(60) for day in range(1, 31)]
    level = np.array([drift.level_db for drift in days]).reshape(60, 30)
    ripples = np.array([drift.ripples_db for drift in days])
    np.testing.assert_allclose(level.std(), LEVEL_DB, rtol=0.1)
    np.testing.assert_allclose(level[:, -1].std(), LEVEL_DB, rtol=0.25)
    np.testing.assert_allclose(ripples.std(), RIPPLE_DB, rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(level[:, 1:].ravel(), level[:, :-1].ravel())[0, 1], KEPT, atol=0.08)
    assert abs(np.corrcoef(level[:, 15:].ravel(), level[:, :-15].ravel())[0, 1]) < 0.1


def test_machines_and_seeds_drift_apart():
    drifts = {drift_of(seed, machine, 3) for seed in (0, 1) for machine in ("fan", "pump")}
    assert len(drifts) == 4


@pytest.mark.parametrize(("days", "tests"), [(3, 1), (5, 1), (6, 2), (10, 3)])
def test_the_last_third_is_for_tests(days, tests):
    rng = np.random.default_rng(0)
    assert days_of_tests(days) == tests
    drawn = {split: {draw_day(rng, days, split) for _ in range(300)} for split in ("train", "test")}
    assert drawn["train"] == set(range(1, days - tests + 1))
    assert drawn["test"] == set(range(days - tests + 1, days + 1))
