"""Every detector is saved and loaded with the same scores to the last bit."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from saved_detectors import SHAPES, SPECS, clips, fitted, through_a_file

from detectors import DETECTORS, create, make_detector, parameters
from detectors.adapted import Adapted
from detectors.preprocess import Preprocessed
from detectors.saved.kinds import Record
from detectors.saved.state import load, save
from detectors.saved.table import LEARNED, MIXTURES, PRECISION, SPAN, WHITENING
from detectors.search.neighbours import Bank
from detectors.shared import sharing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_stay_to_the_last_bit(shape, dtype):
    detectors = fitted(shape, dtype)
    loaded = load(*through_a_file(*save(detectors)))
    assert list(loaded) == list(detectors)
    queries = np.random.default_rng(2).normal(size=(20, SHAPES[shape][1])).astype(dtype)
    for spec, detector in detectors.items():
        for m in (1, 20):
            np.testing.assert_array_equal(
                loaded[spec].anomaly_score(queries[:m]), detector.anomaly_score(queries[:m]), err_msg=spec
            )
        np.testing.assert_array_equal(loaded[spec].reference_scores_, detector.reference_scores_, err_msg=spec)
        assert_same(detector, loaded[spec], spec)


def assert_same(value, other, where):
    """Equal types, dtypes, layouts and values of everything that ends in `_`, and of what that consists of."""
    assert type(value) is type(other), where
    if isinstance(value, np.ndarray):
        assert value.dtype == other.dtype, where
        assert not value.flags.contiguous or value.strides == other.strides or 1 in value.shape, where
        np.testing.assert_array_equal(value, other, err_msg=where)
    elif isinstance(value, (list, tuple)):
        assert len(value) == len(other), where
        for i, pair in enumerate(zip(value, other, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    elif isinstance(value, Bank):
        assert_same([value.rows, value.metric], [other.rows, other.metric], where)
    elif is_dataclass(value):
        for field in fields(value):
            assert_same(getattr(value, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif type(value) in LEARNED:
        names, known = ({*vars(detector)} - {"n_features_"} for detector in (value, other))  # of a part it is unused
        assert names == known, (
            f"{where}: {names ^ known}: list what ends in _ under {type(value).__name__} in LEARNED, "
            "detectors/saved/table.py"
        )
        for name in names:
            assert_same(getattr(value, name), getattr(other, name), f"{where}.{name}")
    else:
        assert value == other, where


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_has_an_entry(name):
    detector = create(name)
    assert type(detector) in LEARNED, (
        f"add {type(detector).__name__} to LEARNED in detectors/saved/table.py: its learned attributes, and what "
        "anomaly_score relies on"
    )


def test_the_options_cover_every_parameter():
    for name in DETECTORS:
        used = {
            key for spec in SPECS if spec.partition(":")[0] == name for key in parameters(name) if f"{key}=" in spec
        }
        assert used >= parameters(name).keys() - {"seed", "standardize", "pca"}, name


@pytest.mark.parametrize("record", [WHITENING, PRECISION, SPAN, *MIXTURES.values()])
def test_every_field_of_a_record_is_saved(record: Record):
    cls, given = (getattr(record.make, "func", record.make), getattr(record.make, "keywords", {}))
    assert {field.name for field in fields(cls)} == {*record.fields, *given}


def test_equal_arrays_are_stored_and_loaded_once():
    X, labels = clips("many", np.float64)
    specs = ("knn:k=1", "knn:k=4", "knn:k=2,standardize=true", "knn:k=4,standardize=true", "lof", "lof:k=4")
    tree, arrays = save({spec: create(spec).fit(X.copy(), **labels) for spec in specs})
    loaded = load(*through_a_file(tree, arrays))
    plain, plain_4, whitened, whitened_4, lof, lof_4 = loaded.values()
    assert plain.banks_[0] is plain_4.banks_[0]
    assert whitened.whitening_ is whitened_4.whitening_
    assert whitened.detector_.banks_[0] is whitened_4.detector_.banks_[0]
    assert lof.bank_ is lof_4.bank_
    matrices = [array for array in arrays.values() if array.shape == X.shape]
    assert len(matrices) == 3  # as they are, standardised, and sorted
    with sharing(loaded.values()):
        np.testing.assert_array_equal(plain_4.anomaly_score(X[:3]), load(tree, arrays)["knn:k=4"].anomaly_score(X[:3]))


def test_a_saved_array_is_not_copied():
    X, _ = clips("many", np.float32)
    detector = create("knn").fit(X)
    tree, arrays = save({"a": detector})
    name = tree["a"]["learned"]["banks_"][0]["rows"]
    assert np.shares_memory(arrays[name], X)
    assert np.shares_memory(load(tree, arrays)["a"].banks_[0].rows, X)


def test_what_routes_prepare_is_made_again():
    X, _ = clips("many", np.float64)
    detector = create("knn").fit(X)
    detector.anomaly_score(X[:2])
    assert "plain" in vars(detector.banks_[0])
    assert "plain" not in vars(load(*save({"a": detector}))["a"].banks_[0])


def test_detectors_without_reference_scores_stay_so():
    X, labels = clips("many", np.float64)
    detector = load(*save({"a": create("gmm").learn(X, **labels)}))["a"]
    assert not hasattr(detector, "reference_scores_")


def test_a_second_fit_leaves_nothing_of_the_first():
    (X, labels), (single, _) = clips("many", np.float64), clips("single", np.float64)
    for spec in ("lof", "knn:bands=2", "ldn"):
        detector = create(spec).fit(X, **labels).fit(single)
        loaded = load(*through_a_file(*save({spec: detector})))[spec]
        np.testing.assert_array_equal(loaded.anomaly_score(X), detector.anomaly_score(X))


class Own:
    def fit(self, X):
        return self

    def anomaly_score(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize("outer", [{}, {"standardize": True}])
def test_a_detector_of_one_s_own_cannot_be_saved(outer):
    own = Adapted(detector=Own())
    detector = Preprocessed(detector=own, **outer) if outer else own
    with pytest.raises(ValueError, match=r"detector 'fan': Own: a detector of one's own \(module:Class\) cannot"):
        save({"fan": detector.fit(np.eye(3))})


def test_a_subclass_cannot_be_saved():
    base = type(create("knn"))
    with pytest.raises(ValueError, match="Mine: a detector of one's own"):
        save({"fan": type("Mine", (base,), {})().fit(np.eye(3))})


def test_only_what_a_line_of_text_makes_can_be_saved():
    twice = Preprocessed(detector=make_detector("knn", pca=2), standardize=True)
    for detector in (twice, Preprocessed(detector=make_detector("knn"))):
        with pytest.raises(ValueError, match=r"'fan': Preprocessed of .*: only what `create` makes can be saved"):
            save({"fan": detector.fit(np.eye(3))})


def test_a_detector_that_is_not_fitted_cannot_be_saved():
    with pytest.raises(ValueError, match="detector 'fan': is not fitted"):
        save({"fan": create("knn")})


def test_what_cannot_be_loaded_is_not_saved():
    detector = create("gmm").fit(clips("many", np.float64)[0])
    detector.mixture_.weights[0] = 0
    with pytest.raises(ValueError, match=r"'fan'.mixture_.weights: expected values of at least"):
        save({"fan": detector})
