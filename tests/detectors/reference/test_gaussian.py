"""Leave-one-out distances from sums equal those of fits to the other rows, and are withheld where digits are lost."""

import numpy as np
import pytest

from detectors import make_detector
from detectors.reference.gaussian import distances_without


def by_fits(X: np.ndarray, covariance: str, *, standardize: bool) -> np.ndarray:
    scores = []
    for i in range(len(X)):
        rest = np.arange(len(X)) != i
        detector = make_detector("mahalanobis", covariance=covariance, standardize=standardize)
        scores.append(detector.fit(X[rest]).anomaly_score(X[[i]])[0])
    return np.array(scores)


@pytest.mark.parametrize(("n", "d"), [(30, 5), (24, 60), (8, 9)])
@pytest.mark.parametrize("covariance", ["empirical", "ledoit_wolf", "oas"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("heavy", [False, True])
def test_distances_equal_those_of_fits_to_the_others(rng, n, d, covariance, standardize, heavy):
    if covariance == "empirical" and n <= d + 1:
        pytest.skip("a fit needs more clips than dimensions")
    noise = rng.standard_t(2, size=(n, d)) if heavy else rng.normal(size=(n, d))
    X = (noise @ rng.normal(size=(d, d)) + 40) * np.geomspace(1, 30, d)
    scores = distances_without(X, covariance, standardize=standardize)
    np.testing.assert_allclose(scores, by_fits(X, covariance, standardize=standardize), rtol=1e-8)


@pytest.mark.parametrize("standardize", [False, True])
def test_rows_in_several_parts(monkeypatch, rng, standardize):
    X = rng.normal(size=(25, 4))
    whole = distances_without(X, "ledoit_wolf", standardize=standardize)
    monkeypatch.setattr("detectors.reference.gaussian.ROWS", 7)
    np.testing.assert_allclose(distances_without(X, "ledoit_wolf", standardize=standardize), whole, rtol=1e-10)


def test_constant_columns_do_not_count(rng):
    X = np.column_stack([rng.normal(size=(25, 3)), np.full(25, 7.1)]).astype(np.float32)
    scores = distances_without(X, "ledoit_wolf", standardize=True)
    np.testing.assert_allclose(scores, by_fits(X, "ledoit_wolf", standardize=True), rtol=1e-6)


def test_a_row_that_alone_varies_in_a_column_is_left_to_a_fit(rng):
    X = rng.normal(size=(25, 3))
    X[:, 2] = 0
    X[4, 2] = 1
    for standardize in (False, True):
        scores = distances_without(X, "ledoit_wolf", standardize=standardize)
        assert np.flatnonzero(np.isnan(scores)).tolist() == [4]
        honest = make_detector("mahalanobis", standardize=standardize).fit(X).reference_scores_
        np.testing.assert_allclose(honest, by_fits(X, "ledoit_wolf", standardize=standardize), rtol=1e-8)


def test_nothing_varies():
    assert np.isnan(distances_without(np.ones((5, 3)), "oas", standardize=True)).all()
