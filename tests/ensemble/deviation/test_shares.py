"""Shares of the bands in a Mahalanobis distance, against distances by hand."""

import numpy as np
import pytest

from detectors import create
from detectors.covariance import Precision
from detectors.mahalanobis import Mahalanobis
from ensemble.deviation.shares import band_shares, share_sentence


def fitted(covariance: np.ndarray, centre: np.ndarray) -> Mahalanobis:
    detector = Mahalanobis()
    detector.centres_, detector.precisions_ = centre[None], [Precision.of(covariance)]
    return detector


def test_independent_bands_by_hand() -> None:
    """Offsets 2, 2, 0 with variances 1, 4, 1: 4 + 1 + 0."""
    shares = band_shares(fitted(np.diag([1.0, 4, 1]), np.ones(3)), np.array([[3.0, 3, 1], [1, 1, 1]]))
    np.testing.assert_allclose(shares, [[0.8, 0.2, 0], [1 / 3] * 3])


def test_a_negative_term_is_no_share() -> None:
    """Correlation 0.8 and offset (2, 1): P = [[1, -.8], [-.8, 1]] / 0.36, terms 2 * 1.2 and 1 * -0.6."""
    shares = band_shares(fitted(np.array([[1, 0.8], [0.8, 1]]), np.zeros(2)), np.array([[2.0, 1.0]]))
    np.testing.assert_allclose(shares, [[1, 0]])


def test_terms_sum_to_the_distance(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(50, 4)) * [1, 2, 3, 4], rng.normal(size=(1, 4)) * 5
    detector = create("mahalanobis").fit(X)
    P = np.linalg.inv(detector.precisions_[0].cholesky @ detector.precisions_[0].cholesky.T)
    d = (y - detector.centres_[0])[0]
    terms = d * (P @ d)
    assert terms.sum() == pytest.approx(detector.anomaly_score(y)[0])
    np.testing.assert_allclose(band_shares(detector, y)[0], np.maximum(terms, 0) / np.maximum(terms, 0).sum())


def test_standardised_shares_are_those_of_standardised_rows(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(50, 4)) * [1, 2, 3, 4] + 7, rng.normal(size=(3, 4))
    outer = create("mahalanobis:standardize=true").fit(X)
    plain = create("mahalanobis").fit((X - X.mean(0)) / X.std(0))
    np.testing.assert_allclose(band_shares(outer, y), band_shares(plain, (y - X.mean(0)) / X.std(0)), rtol=1e-6)


def test_the_nearest_centre_counts(rng: np.random.Generator) -> None:
    X = rng.normal(size=(60, 3)) + np.repeat([[0, 0, 0], [50, 0, 0]], 30, axis=0)
    detector = create("mahalanobis:by=group").fit(X, group=np.repeat(["a", "b"], 30))
    assert band_shares(detector, np.array([[50.0, 30, 0]]))[0].argmax() == 1


def test_other_detectors_have_no_shares(rng: np.random.Generator) -> None:
    X = rng.normal(size=(30, 4))
    for name in ("knn:k=1", "mahalanobis:pca=2", "mahalanobis:pca=2,standardize=true", "knn:standardize=true"):
        assert band_shares(create(name).fit(X), X) is None
    assert band_shares(create("mahalanobis"), X) is None, "not fitted"


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ([0.1, 0.6, 0.2, 0.1], "60 % of the distance in 1 to 2 kHz"),
        ([0.25, 0.1, 0.4, 0.25], "65 % of the distance in 2 to 4 kHz"),
        ([0.0, 0.0, 0.0, 1.0], "100 % of the distance in 3 to 4 kHz"),
    ],
)
def test_the_sentence_names_the_narrowest_range(shares: list[float], sentence: str) -> None:
    assert share_sentence(np.array(shares), np.array([200.0, 1000, 2000, 3000, 4000])) == sentence
