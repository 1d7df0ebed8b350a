"""The estimator's scores, signs and threshold, its keywords, and its use in scikit-learn and beside PyOD."""

import io

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detectors import DETECTORS, make_detector, parameters
from detectors.estimator import AnomalyDetector
from detectors.estimator.anomaly_detector import threshold_of
from ensemble.decision.thresholds import threshold

RNG = np.random.default_rng(3)
NORMAL, NEW, FAR = RNG.normal(size=(60, 5)), RNG.normal(size=(20, 5)), RNG.normal(size=(20, 5)) + 8
SCALE = np.array([1, 1, 1, 1, 1000.0])


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "posterior"])
def test_scores_are_those_of_the_detector_with_both_signs(name):
    estimator = AnomalyDetector(name).fit(NORMAL)
    detector = make_detector(name).fit(NORMAL)
    np.testing.assert_array_equal(estimator.anomaly_score(NEW), detector.anomaly_score(NEW))
    np.testing.assert_array_equal(estimator.score_samples(NEW), -estimator.anomaly_score(NEW))
    np.testing.assert_array_equal(estimator.decision_scores_, detector.reference_scores_)
    np.testing.assert_allclose(
        estimator.decision_function(NEW), estimator.threshold_ - detector.anomaly_score(NEW), rtol=1e-12
    )


def test_far_rows_are_reported_and_score_lower():
    estimator = AnomalyDetector("mahalanobis", contamination=0.05).fit(NORMAL)
    assert set(estimator.predict(FAR)) == {-1}
    assert estimator.score_samples(FAR).max() < estimator.score_samples(NEW).min()
    assert estimator.anomaly_score(FAR).min() > estimator.anomaly_score(NEW).max()


def test_training_rows_have_the_score_of_a_fit_without_them():
    estimator = AnomalyDetector("knn").fit(NORMAL)
    assert make_detector("knn").fit(NORMAL).anomaly_score(NORMAL).max() < 1e-12  # each is its own neighbour
    np.testing.assert_array_equal(estimator.anomaly_score(NORMAL[::-1]), estimator.decision_scores_[::-1])
    np.testing.assert_array_equal(AnomalyDetector("knn").fit_predict(NORMAL), estimator.predict(NORMAL))
    of_float32 = AnomalyDetector("knn").fit(NORMAL.astype(np.float32))
    np.testing.assert_array_equal(
        of_float32.anomaly_score(NORMAL.astype(np.float32).astype(float)), of_float32.decision_scores_
    )
    zeros = AnomalyDetector("lof").fit(np.eye(8))
    np.testing.assert_array_equal(zeros.anomaly_score(-0.0 * np.eye(8) + np.eye(8)), zeros.decision_scores_)


def test_the_false_alarm_rate_holds_for_new_rows():
    rates = []
    for seed in range(40):
        X = np.random.default_rng(seed).normal(size=(440, 3))
        rates.append((AnomalyDetector("mahalanobis", contamination=0.1).fit(X[:40]).predict(X[40:]) == -1).mean())
    assert 0.07 < np.mean(rates) <= 0.105


@pytest.mark.parametrize(("n", "rate"), [(300, 0.1), (40, 0.05), (7, 0.5), (9, 0.1), (19, 0.3), (3, 0.01)])
def test_the_threshold_is_that_of_detect_but_for_the_last_digit(n, rate):
    reference = np.random.default_rng(n).normal(size=n)
    ours, of_detect = threshold_of(reference, rate), threshold(reference, rate=rate).value
    assert ours in (of_detect, np.nextafter(of_detect, -np.inf))
    assert (reference > ours).sum() == int(n * rate + 1e-9)
    others = [reference[i] > threshold(np.delete(reference, i), rate=rate).value for i in range(n)]
    if rate * n >= 1:  # else the largest of the others is too low a threshold for every rate
        assert (reference > ours).tolist() == others


def test_a_tie_at_the_threshold_is_not_reported():
    assert threshold_of(np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 1, 2]), 0.2) == 1.0
    assert AnomalyDetector("mahalanobis").fit(np.ones((30, 2))).labels_.sum() == 0


def test_habits_of_pyod():
    knn = pytest.importorskip("pyod.models.knn")
    pair = [knn.KNN(contamination=0.1), AnomalyDetector("pyod:KNN", contamination=0.1)]
    theirs, ours = (detector.fit(NORMAL) for detector in pair)
    for detector in (theirs, ours):
        assert detector.labels_.tolist() == (detector.decision_scores_ > detector.threshold_).astype(int).tolist()
        assert detector.labels_.sum() == 6
    # PyOD leaves each row out of its own neighbours too; ours are cross-fitted
    assert np.corrcoef(theirs.decision_scores_, ours.decision_scores_)[0, 1] > 0.99
    np.testing.assert_array_equal(ours.anomaly_score(NEW), theirs.decision_function(NEW))


def test_keywords_of_the_detector_are_parameters():
    estimator = AnomalyDetector("mahalanobis", covariance="oas", pca=2)
    params = estimator.get_params()
    assert params == {
        "detector": "mahalanobis",
        "contamination": 0.1,
        **parameters("mahalanobis"),
        "covariance": "oas",
        "pca": 2,
    }
    copy = clone(estimator.set_params(trim=0.1))
    assert copy.get_params() == {**params, "trim": 0.1}
    assert repr(estimator) == "AnomalyDetector('mahalanobis', contamination=0.1, covariance='oas', pca=2, trim=0.1)"
    assert not hasattr(copy, "detector_")


def test_another_detector_keeps_the_keywords_that_it_knows():
    estimator = AnomalyDetector("mahalanobis", covariance="oas", standardize=True).set_params(detector="knn", k=3)
    assert estimator.get_params() == {
        "detector": "knn",
        "contamination": 0.1,
        **parameters("knn"),
        "k": 3,
        "standardize": True,
    }
    estimator.fit(NORMAL)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnomalyDetector("knn").set_params(kk=3), "unknown parameter of knn: 'kk'; did you mean k"),
        (lambda: AnomalyDetector("knn", kk=3).fit(NORMAL), "unknown parameter of knn: 'kk'"),
        (lambda: AnomalyDetector("knm").fit(NORMAL), "unknown detector: 'knm'; did you mean knn"),
        (
            lambda: AnomalyDetector("knn", contamination=0.0).fit(NORMAL),
            "contamination=0.0: expected a false-alarm rate",
        ),
        (lambda: AnomalyDetector("knn", contamination="auto").fit(NORMAL), "contamination='auto'"),
        (lambda: AnomalyDetector("knn", contamination=True).fit(NORMAL), "contamination=True"),
        (lambda: AnomalyDetector("knn").fit(NORMAL[:1]), "1 sample"),
        (lambda: AnomalyDetector("knn").fit(NORMAL, domain=["source"]), "domain: expected one text for each of the 60"),
        (
            lambda: AnomalyDetector("knn").fit(NORMAL).predict(NORMAL[:, :2]),
            "2 features, but AnomalyDetector is expect",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_keyword_is_no_attribute():
    with pytest.raises(AttributeError, match=r"set_params\(k=\.\.\.\)"):
        AnomalyDetector("knn").k = 3
    with pytest.raises(NotFittedError):
        AnomalyDetector("knn").predict(NORMAL)


def test_in_a_pipeline_with_data_frames():
    frame = pd.DataFrame(NORMAL * SCALE, columns=list("abcde"))
    pipeline = make_pipeline(StandardScaler(), AnomalyDetector("mahalanobis")).set_output(transform="pandas")
    pipeline.fit(frame)
    assert pipeline[-1].feature_names_in_.tolist() == list("abcde")
    assert pipeline[-1].n_features_in_ == 5
    whitened = make_detector("mahalanobis").fit(StandardScaler().fit_transform(NORMAL * SCALE))
    expected = whitened.anomaly_score(StandardScaler().fit(NORMAL * SCALE).transform(NEW * SCALE))
    new = pd.DataFrame(NEW * SCALE, columns=list("abcde"))
    np.testing.assert_allclose(pipeline.score_samples(new), -expected, rtol=1e-9)
    with pytest.raises(ValueError, match="feature names"):
        pipeline.predict(new.rename(columns={"a": "z"}))


def test_a_search_over_detectors_and_keywords_by_labelled_validation_rows():
    X = np.concatenate([NORMAL, NEW, FAR])
    X[:, 4] *= 1000  # so that the scale of one column hides the others
    y = np.repeat([1, 1, -1], [60, 20, 20])
    split = PredefinedSplit(np.repeat([-1, 0, 0], [60, 20, 20]))
    grid = [{"detector": ["knn"], "k": [1, 2]}, {"detector": ["mahalanobis"], "covariance": ["oas", "ledoit_wolf"]}]
    search = GridSearchCV(AnomalyDetector("knn"), grid, scoring="roc_auc", cv=split, refit=False).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    for params, auc in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        detector = AnomalyDetector(**params).fit(X[:60])
        assert auc == pytest.approx(roc_auc_score(y[60:] == -1, detector.anomaly_score(X[60:])))
    pipeline = make_pipeline(PCA(2), AnomalyDetector("gmm"))
    inside = GridSearchCV(pipeline, {"anomalydetector__n_components": [1, 2]}, scoring="roc_auc", cv=split).fit(X, y)
    assert inside.best_params_["anomalydetector__n_components"] in (1, 2)


def test_labels_reach_a_by_group_detector_through_a_pipeline():
    group = np.where(np.arange(60) % 2, "slow", "fast")
    X = NORMAL + 6.0 * (group == "slow")[:, None]
    with sklearn.config_context(enable_metadata_routing=True):
        detector = AnomalyDetector("mahalanobis", by="group").set_fit_request(domain=True, group=True, block=True)
        pipeline = make_pipeline(StandardScaler(), detector).fit(X, group=group, block=np.arange(60) // 6)
    scaled = StandardScaler().fit_transform(X)
    expected = make_detector("mahalanobis", by="group").fit(scaled, group=group, block=np.arange(60) // 6)
    np.testing.assert_array_equal(pipeline[-1].detector_.centres_, expected.centres_)
    np.testing.assert_array_equal(pipeline[-1].decision_scores_, expected.reference_scores_)


@pytest.mark.parametrize("name", ["lof", "sklearn:IsolationForest"])
def test_a_saved_estimator_scores_alike(name):
    keywords = {"n_estimators": 2} if name.startswith("sklearn") else {}
    estimator = AnomalyDetector(name, **keywords, standardize=True).fit(NORMAL)
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    loaded = joblib.load(file)
    np.testing.assert_array_equal(loaded.decision_function(NEW), estimator.decision_function(NEW))
    assert loaded.get_params() == estimator.get_params()


def test_several_at_once():
    names = ["knn", "mahalanobis", "lof"]
    fits = joblib.Parallel(n_jobs=2, prefer="threads")(
        joblib.delayed(AnomalyDetector(name).fit)(NORMAL) for name in names
    )
    for name, fitted in zip(names, fits, strict=True):
        np.testing.assert_array_equal(fitted.score_samples(NEW), AnomalyDetector(name).fit(NORMAL).score_samples(NEW))


@pytest.mark.parametrize(
    ("detector", "keywords", "message"),
    [
        (None, {}, "detector=None: expected a name"),
        (AnomalyDetector(), {}, "expected a name, such as 'knn'"),
        ("knn:k=3", {}, "detector='knn:k=3': expected the name alone; parameters are keywords"),
        ("knn", {"k": "3"}, r"AnomalyDetector\('knn', contamination=0.1, k='3'\): a keyword of another type"),
        ("knn", {"k": 3.0}, "k=3.0.*: a keyword of another type"),
    ],
)
def test_unusable_detectors_are_value_errors_of_fit(detector, keywords, message):
    with pytest.raises(ValueError, match=message):
        AnomalyDetector(detector, **keywords).fit(NORMAL)
