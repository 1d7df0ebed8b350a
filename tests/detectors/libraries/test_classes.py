"""Which classes `sklearn:CLASS` and `pyod:CLASS` name, and how they are written as a line of text."""

import importlib.util
import subprocess
import sys

import pytest

from detectors import create, detector_spec, make_detector, parameters, parse_detector
from detectors.libraries.classes import LIBRARIES, detector_names, find_class, modules
from featstore import registry
from featstore.errors import DataError
from featstore.spec import LIBRARIES as IN_TEXTS


def test_the_libraries_of_lines_of_text_are_those_that_are_known():
    assert tuple(LIBRARIES) == IN_TEXTS


def test_the_names_of_scikit_learn_are_its_outlier_detectors():
    # as sklearn.utils.discovery.all_estimators lists them, which takes seconds
    known = {"EllipticEnvelope", "IsolationForest", "LocalOutlierFactor", "OneClassSVM", "SGDOneClassSVM"}
    assert known <= set(detector_names("sklearn"))
    assert {find_class(f"sklearn:{name}").__name__ for name in detector_names("sklearn")} == set(
        detector_names("sklearn")
    )


def test_the_names_of_pyod_take_vectors_and_are_found_in_its_modules():
    pytest.importorskip("pyod")
    names = detector_names("pyod")
    assert {"ECOD", "KNN", "IForest", "AutoEncoder", "HBOS"} <= set(names)
    assert not {"BaseDetector", "DOMINANT", "LSTMAD", "EmbeddingOD", "SUOD"} & set(names)
    assert modules("pyod")["ECOD"] == "pyod.models.ecod"


def test_what_is_left_out_exists():
    for head, library in LIBRARIES.items():
        if importlib.util.find_spec(head):
            assert set(library.left_out) <= set(modules(head)), head


@pytest.mark.parametrize(
    ("line", "name", "params"),
    [
        ("sklearn:IsolationForest", "sklearn:IsolationForest", {}),
        ("sklearn:IsolationForest,n_estimators=200", "sklearn:IsolationForest", {"n_estimators": 200}),
        ("sklearn:OneClassSVM,gamma=auto,nu=0.1", "sklearn:OneClassSVM", {"gamma": "auto", "nu": 0.1}),
        ("sklearn:OneClassSVM,shrinking=false,pca=4", "sklearn:OneClassSVM", {"shrinking": False, "pca": 4}),
        ("sklearn:IsolationForest,max_samples=none", "sklearn:IsolationForest", {"max_samples": None}),
    ],
)
def test_lines_of_text_round_trip(line, name, params):
    assert parse_detector(line) == (name, params)
    assert detector_spec(name, params) == line
    assert parse_detector(line.replace(",", ":", 1)) == (name, params)  # as a grid writes it


def test_lists_are_lists_of_the_library():
    pytest.importorskip("pyod")
    name, params = parse_detector("pyod:AutoEncoder,hidden_neuron_list=8;4")
    assert params == {"hidden_neuron_list": (8, 4)}
    assert detector_spec(name, params) == "pyod:AutoEncoder,hidden_neuron_list=8;4"


def test_defaults_are_those_of_the_library_but_for_the_seed_and_what_is_printed():
    known = parameters("sklearn:IsolationForest")
    assert (known["random_state"], known["n_estimators"], known["verbose"]) == (0, 100, 0)
    assert (known["standardize"], known["pca"]) == (False, None)
    assert "contamination" not in known
    assert "novelty" not in parameters("sklearn:LocalOutlierFactor")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "sklearn:IsolationForrest",
            "unknown detector of scikit-learn: 'IsolationForrest'; did you mean IsolationForest",
        ),
        ("sklearn:isolationforest", "did you mean IsolationForest"),
        ("sklearn:KMeans", "unknown detector of scikit-learn: 'KMeans'.*choose from EllipticEnvelope, IsolationForest"),
        ("sklearn:externals", "unknown detector of scikit-learn"),
        ("sklearn:OneClassSVM,kernal=rbf", "unknown parameter of sklearn:OneClassSVM: 'kernal'; did you mean kernel"),
        ("sklearn:OneClassSVM,contamination=0.1", "unknown parameter of sklearn:OneClassSVM: 'contamination'"),
        ("sklearn:OneClassSVM,nu", "expected key=value after the colon, got 'nu'"),
        ("sklearn", "unknown detector: 'sklearn'; did you mean sklearn:CLASS"),
        ("pyod:ecod", "unknown detector of pyod: 'ecod'; did you mean ECOD"),
        ("pyod:SOS", "pyod:SOS cannot be used: it compares the clips that it scores with each other"),
        ("pyod:SUOD", "pyod:SUOD cannot be used: it is made of other detectors"),
    ],
)
def test_what_does_not_fit_is_refused(spec, message):
    if spec.startswith("pyod"):
        pytest.importorskip("pyod")
    with pytest.raises(ValueError, match=message):
        create(spec)


def test_unknown_parameters_are_refused_from_python_too():
    with pytest.raises(ValueError, match="unknown parameter of sklearn:IsolationForest: 'trees'"):
        make_detector("sklearn:IsolationForest", trees=3)


def test_a_library_that_is_not_installed_names_what_to_install(monkeypatch):
    monkeypatch.setattr("detectors.libraries.classes.find_spec", lambda name: None)
    modules.cache_clear()
    try:
        with pytest.raises(DataError, match=r'pyod is not installed: pip install "featstore\[pyod\]"'):
            find_class("pyod:ECOD")
    finally:
        modules.cache_clear()


def test_a_class_that_only_looks_like_a_detector_is_refused(monkeypatch):
    monkeypatch.setitem(modules("sklearn"), "KMeans", "sklearn.cluster")
    with pytest.raises(ValueError, match=r"sklearn:KMeans: expected a subclass of sklearn\.base:OutlierMixin"):
        find_class("sklearn:KMeans")


def test_an_unknown_name_imports_nothing():
    code = """
import sys
from detectors.libraries.classes import find_class
try:
    find_class("sklearn:Nothing")
except ValueError:
    print(sum(name.startswith("sklearn.") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_recipe_may_name_them_without_own_code():
    assert not registry.names_class("detector", "sklearn:IsolationForest,n_estimators=9")
    assert not registry.names_class("detector", "pyod:ECOD")
    assert registry.names_class("detector", "sklearn.ensemble:IsolationForest")
    assert registry.names_class("detector", "os:system")
    assert registry.names_class("embedder", "sklearn:IsolationForest")  # only detectors come from libraries
