"""The local outlier factor equals scikit-learn's, and values by hand."""

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from detectors.base import folds
from detectors.lof import LOF


def by_scikit_learn(rows, queries, k):
    rows = np.unique(rows.astype(np.float64), axis=0)
    factor = LocalOutlierFactor(min(k, len(rows) - 1), novelty=True).fit(rows)
    return -factor.score_samples(queries.astype(np.float64))


@pytest.mark.parametrize("k", [1, 4, 20, 500])
@pytest.mark.parametrize(("n", "d"), [(30, 2), (200, 24), (300, 64)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_scikit_learn(rng, n, d, k, dtype):
    X = (rng.normal(size=(n, d)) * rng.choice([0.1, 1.0], size=(n, 1)) + 3).astype(dtype)
    X[5:8] = X[0]
    queries = np.concatenate([rng.normal(size=(40, d)).astype(dtype) + 3, X[:9]])
    np.testing.assert_allclose(LOF(k=k).fit(X).anomaly_score(queries), by_scikit_learn(X, queries, k), rtol=1e-9)


def test_reference_scores_are_those_of_folds_left_out(rng):
    X = rng.normal(size=(60, 5))
    X[10] = X[20]
    texts, reference = np.full(60, ""), LOF(k=3).fit(X).reference_scores_
    for fold in folds(X, texts, texts):
        np.testing.assert_allclose(reference[fold], by_scikit_learn(X[~fold], X[fold], 3), rtol=1e-9)


def test_values_by_hand():
    """Points 0, 1 and 3 on a line, k=1: densities 1, 1, 1/2; the point 5 reaches 3 at distance 2, so 1/2 over 1/2."""
    detector = LOF(k=1).fit(np.array([[0.0], [1.0], [3.0]]))
    np.testing.assert_allclose(detector.anomaly_score(np.array([[5.0], [2.0], [-3.0]])), [1, 1, 3], rtol=1e-9)


def test_copies_count_once(rng):
    X = rng.normal(size=(40, 3))
    queries = rng.normal(size=(9, 3))
    copied = LOF(k=4).fit(np.concatenate([X, X[[1] * 30], X[:5]]))
    np.testing.assert_array_equal(copied.anomaly_score(queries), LOF(k=4).fit(X).anomaly_score(queries))


def test_one_distinct_clip_scores_one_plus_the_distance():
    detector = LOF().fit(np.tile([3.0, 0.0], (5, 1)))
    np.testing.assert_allclose(detector.anomaly_score(np.array([[3.0, 0], [0, 4]])), [1, 6])
