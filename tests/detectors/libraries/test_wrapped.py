"""Detectors of scikit-learn and PyOD: the library's own scores, honest references, and the same numbers every time."""

import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from detectors import create
from detectors.base import folds
from detectors.libraries.classes import version_of
from detectors.libraries.wrapped import Trained, steady
from detectors.saved.state import load, save
from detectors.sections import score_sections
from featstore.clip import Clip
from featstore.table import ClipTable
from featstore.testing import check_detector

TRAIN, TEST, FAR = np.random.default_rng(0).normal(size=(3, 40, 6)) + np.array([0, 0, 9])[:, None, None]


@pytest.mark.parametrize(
    ("spec", "own"),
    [
        ("sklearn:IsolationForest,n_estimators=5", IsolationForest(n_estimators=5, random_state=0)),
        ("sklearn:OneClassSVM,nu=0.2", OneClassSVM(nu=0.2)),
        ("sklearn:LocalOutlierFactor,n_neighbors=5", LocalOutlierFactor(n_neighbors=5, novelty=True)),
    ],
)
def test_scores_in_a_section_are_the_library_s_own_with_the_sign_turned(spec, own):
    clips = [Clip(f"{machine}{i}.wav", machine, "00", "train") for machine in ("fan", "pump") for i in range(20)]
    scores = score_sections(spec, TRAIN, ClipTable.from_clips(clips), TEST, ClipTable.from_clips(clips))
    fan, pump = slice(20), slice(20, 40)
    for section in (fan, pump):
        np.testing.assert_array_equal(scores.scores[section], -own.fit(TRAIN[section]).score_samples(TEST[section]))


def test_scores_of_pyod_are_its_decision_function():
    knn = pytest.importorskip("pyod.models.knn")
    detector = create("pyod:KNN,n_neighbors=3").fit(TRAIN)
    own = knn.KNN(n_neighbors=3).fit(TRAIN)
    np.testing.assert_array_equal(detector.anomaly_score(TEST), own.decision_function(TEST))


def test_no_clip_changes_the_score_of_another():
    ecod = pytest.importorskip("pyod.models.ecod")
    own = ecod.ECOD().fit(TRAIN)
    alone = np.concatenate([own.decision_function(row[None]) for row in TEST])
    assert not np.allclose(own.decision_function(TEST), alone)  # PyOD ranks the test rows among each other
    detector = create("pyod:ECOD").fit(TRAIN)
    np.testing.assert_array_equal(detector.anomaly_score(TEST), alone)
    np.testing.assert_array_equal(detector.anomaly_score(TEST[3:9]), alone[3:9])


@pytest.mark.parametrize("spec", ["sklearn:LocalOutlierFactor,n_neighbors=4", "sklearn:OneClassSVM,standardize=true"])
def test_a_reference_score_is_that_of_a_fit_to_other_folds(spec):
    none = np.full(len(TRAIN), "")
    expected = np.full(len(TRAIN), np.nan)
    for held_out in folds(TRAIN, none, none):
        expected[held_out] = create(spec).fit(TRAIN[~held_out]).anomaly_score(TRAIN[held_out])
    np.testing.assert_allclose(create(spec).fit(TRAIN).reference_scores_, expected, rtol=1e-12)


def test_preprocessing_is_ours():
    scaler = StandardScaler().fit(TRAIN)
    own = OneClassSVM().fit(scaler.transform(TRAIN))
    detector = create("sklearn:OneClassSVM,standardize=true").fit(TRAIN)
    np.testing.assert_allclose(detector.anomaly_score(TEST), -own.score_samples(scaler.transform(TEST)), rtol=1e-9)


@pytest.mark.parametrize("spec", ["sklearn:OneClassSVM", "sklearn:SGDOneClassSVM,nu=0.1", "pyod:KNN"])
def test_keeps_the_contract_of_detectors(spec):
    if spec.startswith("pyod"):
        pytest.importorskip("pyod")
    check_detector(lambda: create(spec))


def test_random_numbers_are_fixed_inside_and_untouched_outside():
    torch = pytest.importorskip("torch")

    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the global generators

    def states():
        _, key, position, *_ = np.random.get_state()  # noqa: NPY002
        return random.getstate(), key.tolist(), position, torch.get_rng_state().tolist()

    def fails():
        with steady():
            drawn()
            raise ZeroDivisionError

    with steady():
        first = drawn()
    drawn()  # another state
    before = states()
    with steady():
        assert drawn() == first
    with pytest.raises(ZeroDivisionError):
        fails()
    assert states() == before


def test_a_class_without_a_seed_is_repeatable_and_prints_nothing(capsys):
    pytest.importorskip("pyod")
    pytest.importorskip("torch")
    first, second = (create("pyod:MO_GAAL,stop_epochs=1,k=2").learn(TRAIN).anomaly_score(TEST) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert capsys.readouterr().out == ""


def test_lists_and_the_width_reach_the_library():
    pytest.importorskip("pyod")
    pytest.importorskip("torch")
    assert create("pyod:DeepSVDD,epochs=1").learn(TRAIN).trained_.estimator.n_features == 6
    single = create("pyod:AutoEncoder,hidden_neuron_list=4,epoch_num=1").learn(TRAIN)
    assert single.trained_.estimator.hidden_neuron_list == [4]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sklearn:OneClassSVM,nu=7", r"sklearn:OneClassSVM.fit: InvalidParameterError: The 'nu' parameter"),
        ("sklearn:OneClassSVM,cache_size=1000000", "cache_size=1000000: expected at most 100000"),
        ("sklearn:IsolationForest,max_samples=1;1000000", r"max_samples=\(1, 1000000\): expected at most 100000"),
        ("sklearn:IsolationForest,n_estimators=1000000000", "n_estimators=1000000000: expected at most 100000"),
    ],
)
def test_errors_name_the_detector(spec, message):
    with pytest.raises(ValueError, match=message):
        create(spec).fit(TRAIN)


def test_scores_that_are_not_finite_are_refused(monkeypatch):
    monkeypatch.setattr(OneClassSVM, "score_samples", lambda self, X: np.full(len(X), np.nan))
    with pytest.raises(ValueError, match=r"expected 1 finite scores, got shape .* with 1 values that"):
        create("sklearn:OneClassSVM").fit(TRAIN)


SAVED = (
    "sklearn:IsolationForest,n_estimators=2",
    "sklearn:OneClassSVM,standardize=true",
    "pyod:KNN",
    "pyod:ECOD,pca=2",
)


@pytest.mark.parametrize("spec", SAVED)
def test_a_saved_detector_is_fitted_to_its_rows_again(spec):
    if spec.startswith("pyod"):
        pytest.importorskip("pyod")
    detector = create(spec).fit(TRAIN.astype(np.float32))
    tree, arrays = save({"fan": detector})
    assert tree["fan"]["detector"] == spec
    loaded = load(tree, arrays)["fan"]
    np.testing.assert_array_equal(loaded.anomaly_score(TEST), detector.anomaly_score(TEST))
    np.testing.assert_array_equal(loaded.reference_scores_, detector.reference_scores_)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda node: node["learned"]["trained_"].update(version="scikit-learn 0.1"),
            "got 'scikit-learn 0.1'.*fit the",
        ),
        (lambda node: node["learned"]["trained_"].update(rows="9"), "rows: expected the name of an array"),
        (lambda node: node.update(features=5), r"trained_.rows: expected shape \(40, 5\)"),
        (lambda node: node.update(detector="sklearn:KMeans"), "unknown detector of scikit-learn: 'KMeans'"),
        (lambda node: node.update(detector="sklearn:OneClassSVM,cache_size=1000000"), "expected at most 100000"),
        (lambda node: node.update(detector="sklearn.svm:OneClassSVM"), "unknown detector 'sklearn.svm'"),
    ],
)
def test_a_changed_model_is_refused(change, message):
    tree, arrays = save({"fan": create("sklearn:OneClassSVM").fit(TRAIN)})
    change(tree["fan"])
    with pytest.raises(ValueError, match=message):
        load(tree, arrays)


def test_a_fitted_detector_goes_to_another_process():
    detector = create("sklearn:IsolationForest,n_estimators=2").learn(TRAIN)
    sent = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(sent.anomaly_score(FAR), detector.anomaly_score(FAR))


@pytest.mark.parametrize(("name", "together"), [("pyod:ECOD", False), ("pyod:HBOS", True)])
def test_scores_by_ranks_among_the_rows_of_a_call_are_noticed_with_many_training_rows(name, together):
    pytest.importorskip("pyod")
    rows = np.random.default_rng(1).normal(size=(20_000, 3))
    assert Trained(name, {}, rows, version_of(name)).together is together


def test_threads_wait_for_each_other_and_leave_stdout():
    spec = "sklearn:IsolationForest,n_estimators=2,random_state=none"
    expected, stdout = create(spec).fit(TRAIN).anomaly_score(TEST), sys.stdout
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda _: create(spec).fit(TRAIN).anomaly_score(TEST), range(8)))
    assert sys.stdout is stdout
    np.testing.assert_array_equal(scores, np.broadcast_to(expected, (8, len(TEST))))
