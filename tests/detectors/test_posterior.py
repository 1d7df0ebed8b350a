"""Classifier scores: hand-computed cases."""

import numpy as np
import pytest

from detectors import create

P = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])


def test_scores_are_those_of_the_claimed_class():
    detector = create("posterior").fit(np.log(P[:2]))
    np.testing.assert_allclose(detector.anomaly_score(np.log(P)), -np.log(P[:, 0]))
    np.testing.assert_allclose(detector.reference_scores_, -np.log(P[:2, 0]))
    odds = create("posterior:score=odds").fit(np.log(P[:2]))
    np.testing.assert_allclose(odds.anomaly_score(np.log(P)), np.log((1 - P[:, 0]) / P[:, 0]))


def test_logits_do_as_well_as_probabilities():
    detector = create("posterior").fit(np.log(P[:2]))
    np.testing.assert_allclose(detector.anomaly_score(np.log(P) + 5), detector.anomaly_score(np.log(P)))


def test_likelihoods_are_scored_without_the_other_columns():
    X = np.array([[-3.0, -90.0, 2.0], [-5.0, -80.0, 1.0]])
    detector = create("posterior:score=likelihood").fit(X[:, [0, 1]])
    np.testing.assert_array_equal(detector.anomaly_score(X[:, [0, 1]]), [3, 5])
    np.testing.assert_array_equal(detector.anomaly_score(np.array([[-7.0, 40.0]])), [7])
    np.testing.assert_array_equal(create("posterior:score=likelihood").fit(X).anomaly_score(X), [-2, -1])


def test_certainty_is_finite():
    X = np.array([[0.0, -1000.0], [0.0, -800.0]])
    assert np.isfinite(create("posterior:score=odds").fit(X).anomaly_score(X)).all()


def test_unknown_score_is_refused():
    from detectors.posterior import Posterior

    with pytest.raises(ValueError, match="unknown score 'x'; choose from nll, odds, likelihood"):
        Posterior(score="x").fit(P)
