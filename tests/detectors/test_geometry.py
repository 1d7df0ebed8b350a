import numpy as np
import pytest
from sklearn.covariance import OAS, EmpiricalCovariance, LedoitWolf

from detectors.geometry import (
    MAX_CONDITION,
    Precision,
    cosine_distance,
    empirical_covariance,
    geometric_median,
    ledoit_wolf,
    oas,
    unit,
)


def test_unit_rows():
    X = np.array([[3.0, 4.0], [0.0, 0.0], [1e300, 1e300], [1e-300, 0.0]])
    expected = [[0.6, 0.8], [0, 0], [0.5**0.5, 0.5**0.5], [1, 0]]
    np.testing.assert_allclose(unit(X), expected, rtol=1e-15)
    X.flags.writeable = False
    assert unit(X).flags.writeable


def test_cosine_distance_near_zero_keeps_its_digits():
    angle = 1e-7
    left, right = np.array([[1.0, 0.0]]), np.array([[np.cos(angle), np.sin(angle)]])
    np.testing.assert_allclose(cosine_distance(left, right), angle**2 / 2, rtol=1e-9)


def test_cosine_distance_at_its_ends():
    left = np.array([[1.0, 0], [1, 0], [1, 0], [0, 0], [0, 0]])
    right = np.array([[1.0, 0], [-1, 0], [0, 0], [1, 0], [0, 0]])
    np.testing.assert_array_equal(cosine_distance(left, right), [0, 2, 2, 2, 0])


def test_geometric_median_is_where_the_diagonals_cross():
    X = np.array([[0.0, 0], [1, 0], [0, 1], [10, 10]])
    np.testing.assert_allclose(geometric_median(X), [0.5, 0.5], atol=1e-7)
    objective = np.linalg.norm(X - geometric_median(X), axis=1).sum()
    np.testing.assert_allclose(objective, 15.556349186104, rtol=1e-12)


def test_geometric_median_at_a_row():
    X = np.array([[0, 0], [2, 0], [1, 1.5], [1, 0.5]])
    np.testing.assert_array_equal(geometric_median(X), [1, 0.5])
    others = unit(X[:3] - X[3]).sum(axis=0)
    np.testing.assert_allclose(np.linalg.norm(others), 0.1055728, atol=1e-7)


def test_geometric_median_leaves_a_row_that_is_not_it():
    X = np.array([[0.0, 0], [1, 0], [0, 1], [10, 10], [0.5, 0.9]])
    start = np.median(X, axis=0)
    X = np.concatenate([X, start[None]])  # the first iterate is a row
    median = geometric_median(X)
    gradient = unit(X - median)[np.linalg.norm(X - median, axis=1) > 1e-9].sum(axis=0)
    assert np.linalg.norm(gradient) < 1 + 1e-6
    for step in 1e-3 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
        moved = np.linalg.norm(X - median - step, axis=1).sum()
        assert moved >= np.linalg.norm(X - median, axis=1).sum() - 1e-12


def test_geometric_median_resists_contamination_and_moves_with_the_data(rng):
    X = rng.normal(size=(100, 5))
    contaminated = np.concatenate([X, np.full((40, 5), 1e6)])
    assert np.linalg.norm(geometric_median(contaminated)) < 3
    np.testing.assert_allclose(geometric_median(7 * X + 3), 7 * geometric_median(X) + 3, atol=1e-6)
    np.testing.assert_array_equal(geometric_median(X[:1]), X[0])
    np.testing.assert_array_equal(geometric_median(np.repeat(X[:1], 9, axis=0)), X[0])


@pytest.mark.parametrize("shape", [(200, 5), (10, 30), (3, 2), (60, 640)])
def test_covariances_agree_with_scikit_learn(rng, shape):
    X = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    centred = X - X.mean(axis=0)
    np.testing.assert_allclose(ledoit_wolf(centred), LedoitWolf().fit(X).covariance_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(oas(centred), OAS().fit(X).covariance_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        empirical_covariance(centred, ddof=0), EmpiricalCovariance().fit(X).covariance_, rtol=1e-9, atol=1e-12
    )


def test_squared_distance_of_the_mean_is_not_the_mean_of_squared_distances():
    residuals = np.array([[1.0, 0], [0, 2], [-1, 1], [2, -1], [-2, -2]])
    covariance = empirical_covariance(residuals - residuals.mean(axis=0))
    np.testing.assert_allclose(covariance, [[2.5, 0.25], [0.25, 2.5]], rtol=1e-14)
    precision = Precision.of(covariance)
    frames = np.array([[1.0, 1], [2, 0], [0, -1]])
    np.testing.assert_allclose(precision.squared_distance(frames.mean(axis=0)[None])[0], 0.4040404040404041, rtol=1e-14)
    np.testing.assert_allclose(precision.squared_distance(frames).mean(), 0.9158249158249158, rtol=1e-14)


def test_precision_agrees_with_the_inverse(rng):
    A = rng.normal(size=(50, 6))
    covariance, offsets = A.T @ A, rng.normal(size=(9, 6))
    expected = np.einsum("ij,jk,ik->i", offsets, np.linalg.inv(covariance), offsets)
    precision = Precision.of(covariance)
    np.testing.assert_allclose(precision.squared_distance(offsets), expected, rtol=1e-10)
    np.testing.assert_allclose(precision.condition, np.linalg.cond(covariance), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_singular_covariances_are_refused_at_any_scale(rng, scale):
    thin = scale * rng.normal(size=(4, 6))
    with pytest.raises(ValueError, match=r"rank 4 in 6 dimensions.*ledoit_wolf"):
        Precision.of(thin.T @ thin)
    collinear = rng.normal(size=(50, 3)) * scale
    collinear = np.column_stack([collinear, collinear.sum(axis=1)])
    with pytest.raises(ValueError, match="rank 3 in 4"):
        Precision.of(collinear.T @ collinear)
    with pytest.raises(ValueError, match="rank 0 in 2"):
        Precision.of(np.zeros((2, 2)))


def test_regularisation_adds_no_more_identity_than_needed(rng):
    good = np.diag([1.0, 2.0, 3.0])
    assert Precision.regularised(good).condition == pytest.approx(3)
    singular = Precision.regularised(np.diag([0.0, 1.0]))
    assert 0.4 * MAX_CONDITION < singular.condition < MAX_CONDITION
    np.testing.assert_allclose(singular.squared_distance(np.array([[0.0, 1.0]])), 1, rtol=1e-8)
    none = Precision.regularised(np.zeros((2, 2)))
    np.testing.assert_array_equal(none.squared_distance(np.array([[3.0, 4.0]])), 25)
