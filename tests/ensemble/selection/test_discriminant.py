"""Weights of members: a case by hand, non-negativity, correlations, and no information."""

import numpy as np

from ensemble.selection.discriminant import discriminant_weights

SECTION = np.zeros(8, dtype=int)
NORMAL = np.array([1.0, 1, 1, 1, 0, 0, 0, 0])
ANOMALOUS = 1 - NORMAL


def test_weights_of_uncorrelated_members_are_difference_over_variance() -> None:
    # Normal clips: variances 1 and 4, no correlation; leads 3 and 4. So the weights are 3 / 1 and 4 / 4.
    normal = np.array([[1.0, 1, -1, -1], [2.0, -2, 2, -2]])
    scores = np.concatenate([normal, np.repeat([[3.0], [4.0]], 4, axis=1)], axis=1)
    weights = discriminant_weights(scores, NORMAL, ANOMALOUS, SECTION, shrinkage=0.5)
    np.testing.assert_allclose(weights / weights[0], [1, 1 / 3], rtol=1e-6)


def test_without_shrinkage_it_is_the_plain_discriminant(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 400)) + np.array([[0.0], [0.0]])
    scores[1] += 0.5 * scores[0]
    normal = np.arange(400) < 200
    scores[:, ~normal] += np.array([[1.0], [2.0]])
    found = discriminant_weights(scores, normal * 1.0, ~normal * 1.0, np.zeros(400, dtype=int), shrinkage=0)
    covariance = np.cov(scores[:, normal], ddof=0)
    wanted = np.linalg.solve(covariance, scores[:, ~normal].mean(axis=1) - scores[:, normal].mean(axis=1))
    assert (wanted > 0).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_member_that_detects_nothing_has_weight_0(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(3, 200))
    normal = np.arange(200) < 100
    scores[0, ~normal] += 3
    scores[2, ~normal] -= 3
    weights = discriminant_weights(scores, normal * 1.0, ~normal * 1.0, np.zeros(200, dtype=int), shrinkage=0.3)
    assert weights[2] == 0
    assert weights[0] > 5 * weights[1] >= 0


def test_equal_members_share_the_weight_of_one(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 300))
    normal = np.arange(300) < 150
    scores[:, ~normal] += 2
    tripled = scores[[0, 0, 0, 1]]
    weights = discriminant_weights(tripled, normal * 1.0, ~normal * 1.0, np.zeros(300, dtype=int), shrinkage=0.01)
    assert 0.7 < weights[:3].sum() / weights[3] < 1.4


def test_the_levels_of_sections_do_not_count_as_spread() -> None:
    scores = np.array([[0.0, 1, 10, 11, 20, 20, 20, 20]])
    section = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    weights = discriminant_weights(scores, NORMAL, ANOMALOUS, section, shrinkage=0)
    np.testing.assert_allclose(weights, [(20 - 5.5) / 0.25], rtol=1e-6)


def test_weights_are_equal_where_no_member_detects_anything() -> None:
    scores = np.array([[1.0, -1, 1, -1, -5, -5, -5, -5]] * 2)
    assert discriminant_weights(scores, NORMAL, ANOMALOUS, SECTION, shrinkage=0.3).tolist() == [1, 1]


def test_without_an_anomaly_all_weights_are_equal(rng: np.random.Generator) -> None:
    weights = discriminant_weights(rng.normal(size=(3, 8)), NORMAL, np.zeros(8), SECTION, shrinkage=0.3)
    np.testing.assert_array_equal(weights, np.ones(3))
