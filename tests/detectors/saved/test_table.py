"""A state from a hostile sender: what does not fit is refused, and what is loaded does not crash."""

import copy
import sys

import numpy as np
import pytest
from saved_detectors import OPTIONS, SHAPES, fitted, through_a_file

from detectors import DETECTORS
from detectors.saved.state import MAX_NODES, load, save

ROWS, AXES, CHOLESKY = ["banks_", 0, "rows"], ["whitening_", "axes"], ["precisions_", 0, "cholesky"]
FUZZED = (*DETECTORS, *OPTIONS, "knn:standardize=true,pca=8")


@pytest.fixture(scope="module")
def saved():
    """Tree and arrays of every detector."""
    return save(fitted())


def changed(saved, specs, edit=None, **arrays):
    """Tree of some detectors after an edit, and all arrays with some of them replaced."""
    tree = copy.deepcopy({spec: saved[0][spec] for spec in specs})
    if edit:
        edit(tree[specs[0]])
    return tree, {**saved[1], **arrays}


def put(path, value):
    def edit(node):
        *outer, last = path
        for key in outer:
            node = node[key]
        node[last] = value

    return edit


@pytest.mark.parametrize(
    ("spec", "path", "value", "message"),
    [
        ("knn", ["detector"], "os:system", "'knn': unknown detector 'os'"),
        ("knn", ["detector"], "featstore.testing:check_detector", "unknown detector 'featstore.testing'"),
        ("knn", ["detector"], "adapted", "unknown detector 'adapted'"),
        ("knn", ["detector"], "knn:k=-1", "k=-1"),
        ("knn", ["detector"], "knn:k=many", "k=many: expected int"),
        ("knn", ["detector"], "knn:pca=-1", "pca=-1"),
        ("knn", ["detector"], 3, r"'knn'.detector: expected str, got int"),
        ("knn", ["detector"], "knn:standardize=true", "expected exactly whitening_, detector_, got 'banks_'"),
        ("knn", ["features"], 0, "features: expected at least 1"),
        ("knn", ["features"], True, "features: expected int, got True"),
        ("knn", ["features"], 5, r"'knn'.banks_\[0\]: expected 5 dimensions, got 12"),
        ("knn", ["learned", "fit"], "0", "expected exactly banks_, bank_rows_, got 'banks_', 'bank_rows_', 'fit'"),
        ("knn", ["learned"], {}, "expected exactly banks_, bank_rows_, got none"),
        ("knn", ["learned", "banks_"], [], "banks_: expected a bank, got none"),
        ("knn", ["learned", "banks_"], "0", "banks_: expected a list, got '0'"),
        ("knn", ["learned", "banks_", 0, "rows"], "nowhere", r"banks_\[0\].rows: expected the name of an array"),
        ("knn", ["learned", "banks_", 0, "rows"], ["0"], r"banks_\[0\].rows: expected the name of an array"),
        ("knn", ["learned", "bank_rows_"], [], "bank_rows_: expected 1 arrays"),
        ("knn", ["extra"], 1, "expected exactly detector, features, reference_scores, learned"),
        ("posterior", ["learned", "class_"], 12, "class_: expected a column from 0 to 11, got 12"),
        ("posterior", ["learned", "class_"], -1, "class_: expected a column from 0 to 11, got -1"),
        ("gmm", ["learned", "mixture_", "factors"], [], "mixture_.factors: expected 2 matrices, got 0"),
        ("gmm", ["learned", "mixture_", "span", "floor"], 0.5, "span.floor: expected reg_covar=1e-06, got 0.5"),
        ("gmm", ["learned", "mixture_", "lower_bound"], float("nan"), "lower_bound: expected float, got nan"),
        ("mahalanobis", ["learned", "precisions_"], [], "precisions_: expected 1 matrices, got 0"),
        ("residual", ["learned", "precisions_"], [], "precisions_: expected a matrix, got none"),
        ("knn:bands=3,standardize=true", ["learned", "detector_", "bands_", "detectors"], [], "expected 3 detectors"),
    ],
)
def test_a_tree_that_does_not_fit_is_refused(saved, spec, path, value, message):
    with pytest.raises(ValueError, match=message):
        load(*changed(saved, [spec], put(path, value)))


def above_diagonal(X):
    X = X.copy()
    X[0, -1] += 1.0
    return X


@pytest.mark.parametrize(
    ("spec", "path", "change", "message"),
    [
        ("knn:varmin=4", ["banks_", 0, "offset"], lambda offset: offset[:9], r"banks_\[0\]: offset: expected a finite"),
        ("knn:varmin=4", ["banks_", 0, "offset"], lambda offset: offset * np.nan, "offset: expected finite values"),
        ("knn:varmin=4", ["banks_", 0, "offset"], lambda offset: offset + 1e300, "a finite value of at most"),
        ("knn:varmin=4", ROWS, lambda X: X[:9], "offset: expected a finite value of at most"),
        (
            "knn",
            ["banks_", 0, "rows"],
            lambda X: X.astype(object),
            r"'knn'.banks_\[0\].rows: expected float32 or float64",
        ),
        ("knn", ROWS, lambda X: X.astype(">f8"), "expected float32 or float64, got >f8"),
        (
            "knn",
            ["banks_", 0, "rows"],
            lambda X: X.astype(np.complex128),
            "expected float32 or float64, got complex128",
        ),
        ("knn", ROWS, lambda X: X.ravel(), "expected an array of 2 dimensions"),
        ("knn", ROWS, lambda X: X * np.nan, "NaN or infinite"),
        ("knn", ROWS, lambda X: X[:0], "the bank is empty"),
        ("knn", ROWS, lambda X: X[:9], r"bank_rows_\[0\]: expected shape \(9,\), got \(70,\)"),
        ("knn", ["bank_rows_", 0], lambda rows: rows - 2, "expected values of at least -1"),
        ("knn:bands=3,standardize=true", ["detector_", "bands_", "spread"], lambda s: s * 0, "spread: expected values"),
        ("knn:standardize=true,pca=8", AXES, lambda A: A[:5], "whitening_.axes: expected 12 rows"),
        ("knn:standardize=true,pca=8", AXES, lambda A: A[:, :5], r"detector_.banks_\[0\]: expected 5"),
        ("knn:standardize=true,pca=8", ["whitening_", "scale"], lambda s: s[:5], "whitening_.scale: expected shape"),
        ("knn:standardize=true,pca=8", ["whitening_", "scale"], lambda s: s * 0, "scale: expected values of at least"),
        ("ldn", ["neighbours_"], lambda rows: rows + 70, r"neighbours_: expected numbers below 70, got 139"),
        ("ldn", ["copy_of_"], lambda rows: rows - 1, "copy_of_: expected values of at least 0"),
        ("ldn", ["rho_"], lambda rho: rho * 0, "rho_: expected positive values for form=ratio"),
        ("ldn", ["rho_"], lambda rho: rho[:3], "rho_: expected shape"),
        ("lof", ["density_"], lambda density: density[:3], "density_: expected shape"),
        ("lof", ["bank_", "rows"], lambda X: X * 1e160, "Euclidean distances need values below"),
        ("mahalanobis", CHOLESKY, above_diagonal, r"precisions_\[0\].cholesky: expected a lower triangle"),
        ("mahalanobis", CHOLESKY, lambda L: L[:5], "cholesky: expected a lower triangle"),
        ("mahalanobis", CHOLESKY, lambda L: L * 0, "cholesky: expected a lower triangle"),
        ("mahalanobis", CHOLESKY, lambda L: L[:5, :5], r"expected shape \(12, 12\)"),
        ("mahalanobis", ["centres_"], lambda X: X[:, :5], r"centres_: expected shape \(1, 12\), got \(1, 5\)"),
        ("mahalanobis", ["inliers_"], lambda mask: mask * 1, "inliers_: expected bool, got int64"),
        ("gmm", ["mixture_", "weights"], lambda weights: weights * 0, "weights: expected values of at least"),
        ("gmm", ["mixture_", "factors", 0], lambda W: W * 0, "mixture_.factors: expected upper triangles"),
        ("gmm", ["mixture_", "factors", 0], lambda W: W[:5, :5], "mixture_.factors: expected shape"),
        ("gmm", ["mixture_", "inner_means"], lambda X: X[:, :5], "mixture_.inner_means: expected 12 columns, got 5"),
        ("gmm", ["cluster_"], lambda label: label + 1, "cluster_: expected numbers below 2, got 2"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(saved, spec, path, change, message):
    node = saved[0][spec]["learned"]
    for key in path[:-1]:
        node = node[key]
    name = node[path[-1]]
    array = saved[1][name.removesuffix(".T")]
    changed_array = change(array.T if name.endswith(".T") else array)
    edit = put(["learned", *path], "changed")
    with pytest.raises(ValueError, match=message):
        load(*changed(saved, [spec], edit, changed=changed_array))


def test_nan_is_allowed_in_reference_scores(saved):
    tree, arrays = changed(saved, ["knn"], put(["reference_scores"], "changed"), changed=np.full(3, np.nan))
    assert np.isnan(load(tree, arrays)["knn"].reference_scores_).all()


def deep(levels: int):
    tree = []
    for _ in range(levels):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"fan": deep(10**5)}, "values in 12 levels"),
        ({"fan": [0] * (MAX_NODES + 1)}, "at most 1,000,000 values"),
        ({"fan": [[0] * 1001] * 1001}, "at most 1,000,000 values"),
        ({"fan" * 1000: 0}, "texts of at most 1000 characters"),
        ({"fan": 3}, "detector 'fan': expected exactly detector, features, reference_scores, learned, got int"),
        ([], "expected detectors by name, got list"),
    ],
    ids=["deep", "long", "wide", "text", "number", "list"],
)
def test_a_tree_beyond_the_limits_is_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        load(tree, {})


def test_a_name_of_the_tree_imports_nothing(saved):
    before = set(sys.modules)
    for spec in ("antigravity:fly", "this:s", "this", "knn=this:s"):
        with pytest.raises(ValueError, match="unknown detector"):
            load(*changed(saved, ["knn"], put(["detector"], spec)))
    assert not {"this", "antigravity"} & (set(sys.modules) - before)


def places(node, path=()):
    """Path of every value of a tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


VALUES = (
    None,
    True,
    0,
    -1,
    1,
    13,
    10**30,
    0.5,
    1e308,
    float("nan"),
    "",
    "0",
    "1.T",
    "knn:k=2",
    "os:system",
    [],
    {},
    [0],
)
"""Put in the place of a value of the tree."""


def broken(array, rng):
    """An array with another value, shape, order or dtype."""
    if not array.ndim or array.dtype.kind in "OU":  # broken enough
        return array
    values = array.copy().reshape(-1)
    if values.size:
        extremes = (
            [0, 1, -1, 200, 1e308, 1e-308, -1e308, np.nan, np.inf] if values.dtype.kind == "f" else [0, 1, -1, 99]
        )
        values[rng.integers(values.size)] = rng.choice(extremes)
    return (
        values.reshape(array.shape),
        array[: rng.integers(len(array) + 1)],
        array[..., : rng.integers(array.shape[-1] + 1)],
        np.concatenate([array, array]),
        array.T.copy(),
        array.reshape(-1),
        array[None],
        array.astype(rng.choice(["float32", "float64", "int32", "int64", "bool", "object", ">f8", "U3"])),
        np.zeros_like(array),
    )[rng.integers(9)]


def mutated(tree, arrays, rng):
    """A tree and arrays with one to three changes."""
    tree, arrays = copy.deepcopy(tree), dict(arrays)
    for _ in range(rng.integers(1, 4)):
        known = [*places(tree)]
        if not known:
            break
        *path, last = known[rng.integers(len(known))]
        node = tree
        for key in path:
            node = node[key]
        match rng.integers(6):
            case 0:
                node[last] = VALUES[rng.integers(len(VALUES))]
            case 1:
                del node[last]
            case 2 if isinstance(node, list):
                node.append(node[last])
            case 3:  # another array, or another part of the tree
                node[last] = str(rng.integers(len(arrays)))
            case _:
                name = str(rng.choice([*arrays]))
                with np.errstate(all="ignore"):
                    arrays[name] = broken(arrays[name], rng)
    return tree, arrays


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers beyond float64, which are no crash
@pytest.mark.parametrize("shape", ["many", "wide"])
def test_a_mutated_state_is_refused_or_scores(shape):
    rng, loaded = np.random.default_rng(3), 0
    queries = rng.normal(size=(4, SHAPES[shape][1]))
    states = [through_a_file(*save({spec: detector})) for spec, detector in fitted(shape, specs=FUZZED).items()]
    for _ in range(40):
        for state in states:
            try:
                (detector,) = load(*mutated(*state, rng)).values() or [None]
                loaded += 1
                scores = detector.anomaly_score(queries) if detector else np.zeros(4)
            except ValueError:
                continue
            assert scores.shape == (4,)
    assert loaded > 50
