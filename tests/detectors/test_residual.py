"""Residual scores: hand-computed cases and the formula of the baseline."""

import numpy as np
import pytest

from detectors import create
from detectors.covariance import Moments, Precision, ledoit_wolf


def test_mean_error_is_the_mean_over_columns(rng):
    X = rng.random((6, 4))
    detector = create("residual:score=mean").fit(X)
    np.testing.assert_allclose(detector.anomaly_score(2 * X), 2 * X.mean(axis=1))
    np.testing.assert_allclose(detector.reference_scores_, X.mean(axis=1))


def test_mahalanobis_is_the_formula_of_the_better_domain(rng):
    X, frames = rng.normal(size=(80, 3)), rng.normal(size=(7, 3)) + 1
    X[60:] *= 5
    domain = np.repeat(["source", "target"], [60, 20])
    detector = create("residual").fit(X, domain=domain)
    expected = []
    for name in ("source", "target"):
        rows = X[domain == name]
        precision = Precision.regularised(ledoit_wolf(Moments.of(rows - rows.mean(axis=0))))
        expected.append(precision.squared_distance(frames.mean(axis=0)[None])[0])
    np.testing.assert_allclose(detector.anomaly_score(frames.mean(axis=0)[None]), [min(expected)], rtol=1e-9)
    assert expected[1] < expected[0]


def test_one_target_clip_leaves_the_source(rng):
    X = rng.normal(size=(20, 3))
    domain = np.array(["source"] * 19 + ["target"])
    with_target, alone = create("residual").fit(X, domain=domain), create("residual").fit(X[:19])
    np.testing.assert_allclose(with_target.anomaly_score(X), alone.anomaly_score(X))


def test_unknown_score_is_refused():
    from detectors.residual import Residual

    with pytest.raises(ValueError, match="unknown score 'x'; choose from mahalanobis, mean"):
        Residual(score="x").fit(np.eye(3))
