"""Log odds calibrated by two Gaussians, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.domains.calibration import MOST_CERTAIN, Calibration


def test_calibration_by_hand() -> None:
    """Means -1 and 3, variances 1 of two clips each, so (2 + 3) / 5 * 1.5 = 1.5: slope 4 / 1.5 about the middle 1."""
    odds, target = np.array([-2.0, 0, 2, 4]), np.array([False, False, True, True])
    calibration = Calibration.of(odds, target)
    np.testing.assert_allclose(calibration.numbers(), [-1, 3, 1.5, 1.5])
    mapped = calibration.applied(np.array([-2.0, 0, 2, 4, 1, 5]))
    np.testing.assert_allclose(mapped, np.array([-12, -4, 4, 12, 0, 16]) / 1.5)
    assert np.abs(calibration.applied(np.array([-1e6, 1e6]))).max() == MOST_CERTAIN


@pytest.mark.parametrize("target", [[True, True, False, False], [False] * 4, [True] * 4])
def test_odds_that_are_not_higher_for_target_clips_say_nothing(target: list[bool]) -> None:
    calibration = Calibration.of(np.array([-2.0, 0, 2, 4]), np.array(target))
    assert not calibration.applied(np.array([-9.0, 0, 9])).any()


def test_a_domain_that_varies_more_begins_nearer_to_the_other() -> None:
    """Source clips at -1 and 1, target clips at 5 and 15; both tails are monotone."""
    odds = np.array([-1.0, 1, -1, 1, 5, 15, 5, 15])
    at = np.linspace(-40, 60, 201)
    mapped = Calibration.of(odds, np.arange(8) >= 4).applied(at)
    assert (np.diff(mapped) >= 0).all()
    middle = at[np.argmax(mapped > 0)]
    assert 1 < middle < 4.9, "below the middle of the means, 5"
    assert mapped[0] == mapped[40] < 0


def test_stored_numbers_are_the_same_calibration() -> None:
    calibration = Calibration.of(np.array([-2.1, 0, 2, 4.3]), np.array([False, False, True, True]))
    assert Calibration.from_numbers(np.array(calibration.numbers())) == calibration
    for variance in (0.0, -1.0):
        with pytest.raises(ValueError, match="positive variances"):
            Calibration.from_numbers(np.array(replace(calibration, target_variance=variance).numbers()))
