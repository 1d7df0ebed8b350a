"""Covariances and Mahalanobis distances."""

import numpy as np
import pytest
from sklearn.covariance import OAS, EmpiricalCovariance, LedoitWolf

from detectors.covariance import MAX_CONDITION, Moments, Precision, empirical, ledoit_wolf, oas


@pytest.mark.parametrize("shape", [(200, 5), (10, 30), (3, 2), (60, 640)])
def test_covariances_agree_with_scikit_learn(rng, shape):
    X = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    moments = Moments.of(X - X.mean(axis=0))
    np.testing.assert_allclose(ledoit_wolf(moments), LedoitWolf().fit(X).covariance_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(oas(moments), OAS().fit(X).covariance_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        empirical(moments, ddof=0), EmpiricalCovariance().fit(X).covariance_, rtol=1e-9, atol=1e-12
    )


def test_squared_distance_of_the_mean_is_not_the_mean_of_squared_distances():
    residuals = np.array([[1.0, 0], [0, 2], [-1, 1], [2, -1], [-2, -2]])
    covariance = empirical(Moments.of(residuals - residuals.mean(axis=0)))
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
