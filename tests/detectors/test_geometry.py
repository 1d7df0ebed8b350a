import numpy as np

from detectors.geometry import cosine_distance, geometric_median, unit


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
