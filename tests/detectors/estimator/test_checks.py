"""Every detector passes the checks that scikit-learn makes of an estimator; none is expected to fail."""

import warnings

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from detectors import DETECTORS
from detectors.estimator import AnomalyDetector

PREPROCESSED = (
    ("knn", {"standardize": True}),
    ("mahalanobis", {"standardize": True, "pca": 2}),
    ("residual", {"pca": 1}),
)
OPTIONS = (("knn", {"k": 2, "varmin": 2}), ("ldn", {"K": 2}), ("mahalanobis", {"covariance": "oas"}))
ESTIMATORS = [
    *(AnomalyDetector(name) for name in DETECTORS),
    *(AnomalyDetector(name, **keywords) for name, keywords in (*PREPROCESSED, *OPTIONS)),
    AnomalyDetector("sklearn:OneClassSVM"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks warn on purpose
        check(estimator)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_share_of_training_rows_that_is_reported_is_the_contamination(name):
    from sklearn.datasets import make_blobs

    X = make_blobs(n_samples=300, random_state=0)[0]
    for contamination in (0.02, 0.1, 0.37, 0.5):
        detector = AnomalyDetector(name, contamination=contamination).fit(X)
        assert detector.labels_.sum() == round(300 * contamination)
