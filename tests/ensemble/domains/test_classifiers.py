"""Classifiers of domains: by hand, and without harm from few or constant values."""

import numpy as np
import pytest

from ensemble.domains import classifiers
from ensemble.domains.classifiers import CLASSIFIERS, discriminant, neighbours, standardised


def test_rows_are_standardised_by_the_bank_of_their_section() -> None:
    X = np.array([[0.0, 5, 1], [2, 5, 1], [10, 5, 1], [30, 5, 1], [4, 5, 7]])
    section = np.array(["00", "00", "01", "01", "00"])
    bank = np.array([True, True, True, True, False])
    np.testing.assert_allclose(standardised(X, section, bank), [[-1], [1], [-1], [1], [3]])
    alone = standardised(X, np.array(["00", "00", "01", "01", "02"]), bank)
    np.testing.assert_allclose(alone[4], [0], err_msg="a section without bank clips")


def test_the_discriminant_of_equal_spreads_is_the_middle_of_the_means(rng: np.random.Generator) -> None:
    target = np.arange(800) >= 400
    bank = rng.normal(size=(800, 3)) + 4 * np.outer(target, [1, 0, 0])
    odds = discriminant(bank, target, np.array([[2.0, 0, 0], [4, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(odds, [0, 8, -8], atol=1.5)


def test_the_nearest_clips_by_hand() -> None:
    """From 0: source clips at 1 and 2 have mean square 2.5, target clips at 10 and 11 have 110.5."""
    bank, target = np.array([[1.0], [2], [50], [10], [11]]), np.array([False, False, False, True, True])
    odds = neighbours(bank, target, np.array([[0.0], [10.5]]))
    np.testing.assert_allclose(odds, [np.log(2.5 / 110.5), np.log(81.25 / 0.25)], rtol=1e-3)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_equal_rows_have_even_odds(classifier: classifiers.Classifier) -> None:
    bank, target = np.ones((6, 2)), np.array([False, False, False, False, True, True])
    np.testing.assert_allclose(classifier(bank, target, np.ones((3, 2))), 0, atol=1e-9)


def test_a_sample_of_many_clips_is_enough(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, target = rng.normal(size=(600, 4)), np.arange(600) >= 500
    bank[target] += 6
    judged = np.concatenate([rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 6])
    monkeypatch.setattr(classifiers, "MOST_CLIPS", 40)
    odds = neighbours(bank, target, judged)
    assert (odds[:50] < 0).all()
    assert (odds[50:] > 0).all()
