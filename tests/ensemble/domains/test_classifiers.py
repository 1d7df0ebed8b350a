"""Classifiers of domains: by hand, and without harm from few or constant values."""

import numpy as np
import pytest

from ensemble.domains import classifiers
from ensemble.domains.classifiers import CLASSIFIERS, Bank, Classifier, Discriminant, Neighbours
from ensemble.domains.standardisation import Standardisation
from ensemble.domains.stored import Stored


def bank_of(Z: np.ndarray, target: np.ndarray) -> Bank:
    """A bank whose rows are standardised already."""
    d = Z.shape[1]
    scale = Standardisation(("00",), d, np.arange(d), np.zeros((1, d)), np.ones((1, d)))
    return Bank(scale, Z, np.zeros(len(Z), dtype=np.intp), target)


def test_the_discriminant_of_equal_spreads_is_the_middle_of_the_means(rng: np.random.Generator) -> None:
    target = np.arange(800) >= 400
    bank = bank_of(rng.normal(size=(800, 3)) + 4 * np.outer(target, [1, 0, 0]), target)
    odds = Discriminant.fit(bank).log_odds(np.array([[2.0, 0, 0], [4, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(odds, [0, 8, -8], atol=1.5)


def test_the_nearest_clips_by_hand() -> None:
    """From 0: source clips at 1 and 2 have mean square 2.5, target clips at 10 and 11 have 110.5."""
    bank = bank_of(np.array([[1.0], [2], [50], [10], [11]]), np.array([False, False, False, True, True]))
    odds = Neighbours.fit(bank).log_odds(np.array([[0.0], [10.5]]))
    np.testing.assert_allclose(odds, [np.log(2.5 / 110.5), np.log(81.25 / 0.25)], rtol=1e-3)


@pytest.mark.parametrize("classifier", CLASSIFIERS.values())
def test_equal_rows_have_even_odds(classifier: type[Classifier]) -> None:
    bank = bank_of(np.ones((6, 2)), np.array([False, False, False, False, True, True]))
    np.testing.assert_allclose(classifier.fit(bank).log_odds(np.ones((3, 2))), 0, atol=1e-9)
    nothing = bank_of(np.ones((6, 0)), bank.target)
    np.testing.assert_array_equal(classifier.fit(nothing).log_odds(np.ones((3, 0))), 0)


def test_a_sample_of_many_clips_is_enough(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    Z, target = rng.normal(size=(600, 4)), np.arange(600) >= 500
    Z[target] += 6
    judged = np.concatenate([rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 6])
    monkeypatch.setattr(classifiers, "MOST_CLIPS", 40)
    nearest = Neighbours.fit(bank_of(Z, target))
    assert len(nearest.bank.rows) == 80
    odds = nearest.log_odds(judged)
    assert (odds[:50] < 0).all()
    assert (odds[50:] > 0).all()


@pytest.mark.parametrize("classifier", CLASSIFIERS.values())
def test_odds_do_not_depend_on_the_other_judged_clips(classifier: type[Classifier], rng: np.random.Generator) -> None:
    """Among them is a copy of a bank clip, for which the floor of distances decides, and one that is far away."""
    Z = rng.normal(size=(40, 4))
    judged = np.concatenate([Z[:1], rng.normal(size=(5, 4)), np.full((1, 4), 1e5)])
    state = classifier.fit(bank_of(np.concatenate([Z, Z[:2]]), np.arange(42) % 4 == 0))
    alone = np.concatenate([state.log_odds(judged[i : i + 1]) for i in range(len(judged))])
    np.testing.assert_allclose(state.log_odds(judged), alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classifier", CLASSIFIERS.values())
def test_stored_arrays_give_the_same_odds(classifier: type[Classifier], rng: np.random.Generator) -> None:
    X = rng.normal(size=(40, 4)).astype(np.float32)
    bank = Bank.of(X, np.where(np.arange(40) % 3, "00", "01"), np.arange(40) % 4 == 0)
    state = classifier.fit(bank)
    again = classifier.from_arrays(Stored(state.arrays()), bank.scale)
    judged = rng.normal(size=(9, 4))
    np.testing.assert_array_equal(again.log_odds(judged), state.log_odds(judged))


@pytest.mark.parametrize(
    ("classifier", "name", "array", "message"),
    [
        (Discriminant, "direction", np.zeros(5), r"expected shape \(4\)"),
        (Discriminant, "direction", np.full(4, np.inf), "finite"),
        (Discriminant, "middle", np.zeros(1), "expected shape"),
        (Neighbours, "rows", np.zeros((40, 4), dtype=object), "got object"),
        (Neighbours, "rows", np.zeros((40, 3), dtype=np.float32), "expected shape"),
        (Neighbours, "number", np.full(40, 2), "from 0 to 1"),
        (Neighbours, "number", np.full(40, -1), "from 0 to 1"),
        (Neighbours, "number", np.zeros(39, dtype=np.int64), "expected shape"),
        (Neighbours, "target", np.zeros(40, dtype=bool), "both domains"),
        (Neighbours, "target", np.zeros(40), "expected bool"),
    ],
)
def test_stored_arrays_that_do_not_fit_are_refused(
    classifier: type[Classifier], name: str, array: np.ndarray, message: str, rng: np.random.Generator
) -> None:
    bank = Bank.of(rng.normal(size=(40, 4)), np.where(np.arange(40) % 3, "00", "01"), np.arange(40) % 4 == 0)
    arrays = {**classifier.fit(bank).arrays(), name: array}
    with pytest.raises(ValueError, match=message):
        classifier.from_arrays(Stored(arrays), bank.scale)
