"""Properties of every detector in the table, and their names as a line of text."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from scipy.linalg import hadamard

from detectors import DETECTORS, create, detector_spec, make_detector, parameters, parse_detector
from detectors.base import FOLDS, Detector, block_folds, folds
from featstore.spec import value_text
from featstore.testing import check_detector

VARIANTS = (
    "knn:k=3,bank=two_bank",
    "knn:source_clusters=4",
    "knn:smote=0.5",
    "knn:source_clusters=4,smote=0.5",
    "knn:memmixup=5",
    "knn:bands=2,k=2",
    "knn:varmin=4",
    "knn:bands=2,varmin=4",
    "knn:k=2,varmin=3,bank=two_bank",
    "knn:varmin=4,memmixup=5",
    "gmm:score=mixture,covariance_type=diag",
    "gmm:start=domain,smote=0.5",
    "gmm:start=group,covariance_type=diag,unit_length=true",
    "mahalanobis:centre=geometric_median,by=domain,covariance=oas",
    "mahalanobis:by=group,trim=0.05",
    "ldn:K=2,form=difference",
    "ldn:K=4,exit=1.5",
)
WRAPPED = tuple(
    f"{name}:{extra}"
    for name in DETECTORS
    if name != "posterior"
    for extra in ("standardize=true", "standardize=true,pca=2")
)


def clips(n: int, seed: int = 0) -> np.ndarray:
    """Four tight clusters along two axes of eight dimensions, (n, 8); no two rows are equal."""
    H = hadamard(8)[1:3].astype(float)
    centres = np.concatenate([H, -H])[np.arange(n) % 4]
    return centres + 0.05 * np.random.default_rng(seed).normal(size=(n, 8))


def far_clips(n: int = 5) -> np.ndarray:
    """Clips between the clusters in direction and far outside in distance."""
    return 10 * hadamard(8)[1:3].sum(axis=0) + 0.05 * np.random.default_rng(9).normal(size=(n, 8))


@pytest.fixture(params=(*DETECTORS, *VARIANTS, *WRAPPED))
def spec(request):
    return request.param


@pytest.fixture
def X():
    return clips(60)


def labels(n: int) -> dict[str, np.ndarray]:
    return {
        "domain": np.where(np.arange(n) % 6 == 5, "target", "source"),
        "group": np.array(["slow", "fast"])[np.arange(n) // 4 % 2],
    }


def fitted(spec: str, X: np.ndarray) -> Detector:
    return create(spec).fit(X, **labels(len(X)))


def needs_vectors(spec: str) -> None:
    if spec == "posterior":
        pytest.skip("reads class probabilities, not vectors: tests/detectors/test_posterior.py")


def test_far_clips_score_higher(spec, X):
    needs_vectors(spec)
    detector = fitted(spec, X)
    normal, far = detector.anomaly_score(clips(40, seed=1)), detector.anomaly_score(far_clips())
    assert normal.dtype == far.dtype == np.float64
    assert far.min() > normal.max()
    assert far.min() > detector.reference_scores_.max()


@pytest.mark.parametrize("spec", [name for name in (*DETECTORS, *VARIANTS) if name != "posterior"])
def test_satisfies_the_contract_for_detectors_of_one_s_own(spec):
    check_detector(partial(create, spec))


def test_satisfies_the_protocol(spec, X):
    detector = fitted(spec, X)
    assert isinstance(detector, Detector)
    assert detector.reference_scores_.shape == (60,)
    assert detector.reference_scores_.dtype == np.float64
    assert detector.anomaly_score(np.zeros((0, 8))).shape == (0,)


def test_learning_without_reference_scores_scores_alike(spec, X):
    detector = fitted(spec, X)
    learned = create(spec).learn(X, **labels(len(X)))
    np.testing.assert_array_equal(learned.anomaly_score(far_clips()), detector.anomaly_score(far_clips()))
    assert not hasattr(learned, "reference_scores_")
    assert not hasattr(detector.learn(X, **labels(len(X))), "reference_scores_")
    with pytest.raises(ValueError, match="training clips"):
        create(spec).learn(np.full((3, 8), np.nan))


def test_constructor_only_stores(spec):
    name, params = parse_detector(spec)
    detector = create(spec)
    outer = {key: params.get(key, default) for key, default in (("standardize", False), ("pca", None))}
    if any(outer.values()):
        assert {key: vars(detector)[key] for key in outer} == outer
        detector = detector.detector
    expected = {key: value for key, value in (parameters(name) | params).items() if key not in outer}
    assert vars(detector) == expected


def test_row_order_does_not_matter(spec, X, rng):
    order = rng.permutation(60)
    kinds = {key: value[order] for key, value in labels(60).items()}
    plain, shuffled = fitted(spec, X), create(spec).fit(X[order], **kinds)
    query = clips(20, seed=2)
    np.testing.assert_allclose(shuffled.anomaly_score(query), plain.anomaly_score(query), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(shuffled.reference_scores_, plain.reference_scores_[order], rtol=1e-7, atol=1e-10)


def test_batches_do_not_matter(spec, X):
    detector, query = fitted(spec, X), clips(21, seed=2)
    whole = detector.anomaly_score(query)
    np.testing.assert_allclose(detector.anomaly_score(query[[20, 3]]), whole[[20, 3]], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(detector.anomaly_score(query[:1]), whole[:1], rtol=1e-9, atol=1e-12)


def test_inputs_stay_untouched(spec, X):
    before = X.copy()
    X.flags.writeable = False
    fitted(spec, X).anomaly_score(X)
    np.testing.assert_array_equal(X, before)


def test_float32_and_float64_agree(spec, X):
    X = X.astype(np.float32)
    query = clips(20, seed=2).astype(np.float32)
    single, double = fitted(spec, X), fitted(spec, X.astype(np.float64))
    np.testing.assert_allclose(single.anomaly_score(query), double.anomaly_score(query.astype(float)), rtol=1e-6)
    np.testing.assert_allclose(single.reference_scores_, double.reference_scores_, rtol=1e-6)


def test_memory_layout_does_not_matter(spec, X):
    plain, columns = fitted(spec, X), fitted(spec, np.asfortranarray(X))
    query = clips(20, seed=2)
    np.testing.assert_allclose(
        columns.anomaly_score(np.asfortranarray(query)), plain.anomaly_score(query), rtol=1e-9, atol=1e-12
    )


def test_deterministic_and_second_fit_forgets_the_first(spec, X):
    query = clips(20, seed=2)
    once, again = fitted(spec, X), fitted(spec, clips(30, seed=5)).fit(X, **labels(60))
    np.testing.assert_array_equal(again.anomaly_score(query), once.anomaly_score(query))
    np.testing.assert_array_equal(again.reference_scores_, once.reference_scores_)


def test_survives_copy_and_pickle(spec, X):
    detector, query = fitted(spec, X), clips(20, seed=2)
    for twin in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        np.testing.assert_array_equal(twin.anomaly_score(query), detector.anomaly_score(query))


@pytest.mark.parametrize("name", [*DETECTORS, *WRAPPED])
def test_one_clip(name):
    x = clips(1)
    detector = create(name).fit(x)
    itself, other = detector.anomaly_score(x), detector.anomaly_score(far_clips())
    assert np.isfinite([*itself, *other]).all()
    assert other.min() > itself[0]
    assert np.isnan(detector.reference_scores_).all(), "one clip has no held-out score"


def test_two_clips(spec):
    detector = create(spec if "k=3" not in spec else "knn").fit(clips(2))
    assert np.isfinite(detector.reference_scores_).all()


def test_no_domains_at_all(spec, X):
    assert np.isfinite(create(spec).fit(X).reference_scores_).all()


@pytest.mark.parametrize("n_target", [0, 1, 3, 10])
def test_small_target_banks(spec, n_target):
    needs_vectors(spec)
    if "smote" in spec and n_target == 3:
        pytest.skip("its three target clips are in three clusters, and the far clips are between these")
    X = clips(50)
    domain = np.array(["source"] * (50 - n_target) + ["target"] * n_target)
    detector = create(spec).fit(X, domain=domain, group=labels(50)["group"])
    assert np.isfinite(detector.reference_scores_).all()
    assert detector.anomaly_score(far_clips()).min() > detector.anomaly_score(clips(20, seed=1)).max()


def test_exact_copies(spec, X):
    needs_vectors(spec)
    X = np.concatenate([X, X[:10], X[:10]])
    detector = fitted(spec, X)
    assert np.isfinite(detector.reference_scores_).all()
    assert detector.reference_scores_[10:60].min() > detector.reference_scores_.min() - 1e-9
    if not spec.startswith(("gmm", "mahalanobis")) and "difference" not in spec and "varmin" not in spec:
        assert detector.reference_scores_[10:60].min() > 0, "only copies can be at distance 0"
    assert detector.anomaly_score(far_clips()).min() > detector.anomaly_score(X).max()


def test_all_clips_alike(spec):
    detector = fitted(spec, np.repeat(clips(1), 30, axis=0))
    assert np.isfinite(detector.reference_scores_).all()
    assert detector.anomaly_score(far_clips()).min() > detector.anomaly_score(clips(1))[0]


def test_constant_columns(spec, X):
    X, query, far = (np.insert(part, [0, 4], [7.0, 0.0], axis=1) for part in (X, clips(20, seed=2), far_clips()))
    detector = fitted(spec, X)
    assert np.isfinite(detector.reference_scores_).all()
    if spec not in ("knn", "knn:source_clusters=4"):  # the constant dominates the cosine
        assert detector.anomaly_score(far).min() > detector.anomaly_score(query).max()


def test_more_dimensions_than_clips(spec, rng):
    rotation = np.linalg.qr(rng.normal(size=(200, 8)))[0].T
    detector = fitted(spec, clips(24) @ rotation + 1e-4 * rng.normal(size=(24, 200)))
    assert np.isfinite(detector.reference_scores_).all()
    assert detector.anomaly_score(far_clips() @ rotation).min() > detector.anomaly_score(clips(9, 3) @ rotation).max()


def test_zero_vectors_get_a_finite_score(spec, X):
    detector = fitted(spec, np.concatenate([X, np.zeros((2, 8))]))
    assert np.isfinite(detector.anomaly_score(np.zeros((3, 8)))).all()
    assert np.isfinite(detector.reference_scores_).all()


def test_reference_is_leave_one_out_for_few_clips(spec):
    X = np.concatenate([clips(8), clips(2)])
    kinds = labels(10)
    brute = []
    for i in range(10):
        rest = np.arange(10) != i
        part = create(spec).fit(X[rest], **{key: value[rest] for key, value in kinds.items()})
        brute.append(part.anomaly_score(X[[i]])[0])
    np.testing.assert_allclose(create(spec).fit(X, **kinds).reference_scores_, brute, rtol=1e-7, atol=1e-12)


def days(n: int, count: int) -> np.ndarray:
    """Blocks of several clips; not in order."""
    return np.array([f"day {i * i % count}" for i in range(n)])


@pytest.mark.parametrize("count", [7, 41])  # 4 blocks, each a fold; 21 blocks, several in a fold
def test_clips_of_one_block_do_not_change_each_other_s_reference_scores(spec, count):
    needs_vectors(spec)
    X, block = clips(120), days(120, count)
    kinds = labels(120)
    before = create(spec).fit(X, **kinds, block=block).reference_scores_
    together = next(mask for mask in block_folds(np.unique(block, return_inverse=True)[1]) if mask[5])
    others = np.flatnonzero(together)[np.flatnonzero(together) != 5]
    assert len(others) > 1
    changed = X.copy()
    changed[others] = far_clips(len(others))
    after = create(spec).fit(changed, **kinds, block=block).reference_scores_
    assert np.isfinite(before).all()
    assert after[5] == pytest.approx(before[5], rel=1e-9, abs=1e-12)
    assert np.abs(after[~together] - before[~together]).max() > 1e-6, "clips of other blocks are the reference"


def test_reference_of_few_blocks_is_leave_one_block_out(spec, X):
    block, kinds = days(60, 7), labels(60)
    detector = create(spec).fit(X, **kinds, block=block)
    for name in np.unique(block):
        rest = block != name
        part = create(spec).learn(X[rest], **{key: value[rest] for key, value in kinds.items()})
        np.testing.assert_allclose(detector.reference_scores_[~rest], part.anomaly_score(X[~rest]), rtol=1e-9)


def test_blocks_of_one_clip_change_nothing_and_no_block_changes_the_scores_of_other_clips(spec, X):
    plain = fitted(spec, X)
    single = create(spec).fit(X, **labels(60), block=np.arange(60))
    np.testing.assert_array_equal(single.reference_scores_, plain.reference_scores_)
    blocked = create(spec).fit(X, **labels(60), block=days(60, 7))
    np.testing.assert_array_equal(blocked.anomaly_score(far_clips()), plain.anomaly_score(far_clips()))


def test_unusable_blocks_are_refused(X):
    with pytest.raises(ValueError, match="all 60 training clips are of the block monday"):
        create("knn").fit(X, block=["monday"] * 60)
    with pytest.raises(ValueError, match=r"one value for each of the 60 training clips, got shape \(2,\)"):
        create("knn").fit(X, block=["monday", "tuesday"])


def test_block_folds_are_whole_blocks_of_similar_size():
    block = np.repeat(np.arange(30), np.arange(1, 31))
    parts = list(block_folds(block))
    assert len(parts) == FOLDS
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    sizes = [int(part.sum()) for part in parts]
    assert max(sizes) - min(sizes) < 10, "blocks in order instead of the largest first differ by 27"
    assert all(len(set(part[block == number])) == 1 for part in parts for number in range(30))
    assert len(list(block_folds(np.repeat(np.arange(2 * FOLDS), 3)))) == 2 * FOLDS


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (np.array([[1.0, np.nan]]), "row 0, column 1 is nan"),
        (np.array([[1.0, 2.0], [np.inf, 0.0]]), "row 1, column 0 is inf"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 3, 4)), "choose one view"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.array([["a", "b"]]), "expected numbers"),
    ],
)
def test_unusable_matrices_are_refused(spec, X, bad, match):
    with pytest.raises(ValueError, match=match):
        create(spec).fit(bad)
    with pytest.raises(ValueError, match=match):
        fitted(spec, X).anomaly_score(bad)


def test_other_misuse_is_refused(spec, X):
    with pytest.raises(ValueError, match="training clips: expected at least 1, got none"):
        create(spec).fit(X[:0])
    with pytest.raises(ValueError, match="not fitted"):
        create(spec).anomaly_score(X)
    with pytest.raises(ValueError, match="5 dimensions, the training clips had 8"):
        fitted(spec, X).anomaly_score(X[:, :5])
    with pytest.raises(ValueError, match="domain: expected one text for each of the 60"):
        create(spec).fit(X, domain=["source"])


@pytest.mark.parametrize(
    "spec",
    [
        "knn:k=0", "knn:source_clusters=0", "knn:memmixup=-1", "knn:bands=0", "knn:varmin=-1",
        "gmm:n_components=0", "gmm:reg_covar=-1", "ldn:K=0", "ldn:exit=0.5", "lof:k=0",
        "mahalanobis:trim=0.7", "knn:pca=0,standardize=true",
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(spec, X):
    with pytest.raises(ValueError, match="expected"):
        create(spec).fit(X)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("knn", {"bank": "two"}),
        ("gmm", {"score": "weighted"}),
        ("gmm", {"covariance_type": "spherical"}),
        ("gmm", {"start": "section"}),
        ("mahalanobis", {"centre": "median"}),
        ("mahalanobis", {"covariance": "lw"}),
        ("mahalanobis", {"by": "section"}),
        ("ldn", {"form": "quotient"}),
    ],
)
def test_unknown_choices_are_refused(name, params, X):
    with pytest.raises(ValueError, match=r"unknown .*; choose from"):
        make_detector(name, **params).fit(X)


def test_folds_hold_out_every_row_once_and_spread_the_domains():
    X = clips(200)
    domain = np.array(["source"] * 180 + ["target"] * 20)
    parts = list(folds(X, domain, np.full(200, "")))
    assert len(parts) == FOLDS
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    assert {int(part[180:].sum()) for part in parts} == {2}


def test_folds_keep_copies_together():
    X = np.repeat(clips(30), 2, axis=0)
    for part in folds(X, np.full(60, ""), np.full(60, "")):
        np.testing.assert_array_equal(part[::2], part[1::2])


def test_lines_of_text_round_trip():
    line = "mahalanobis:centre=geometric_median,by=domain,trim=0.05,standardize=true,pca=64"
    name, params = parse_detector(line)
    assert (name, params["trim"], params["standardize"], params["pca"]) == ("mahalanobis", 0.05, True, 64)
    assert detector_spec(name, params) == line
    assert parse_detector("knn") == ("knn", {})
    assert parse_detector("knn:source_clusters=none,pca=none,standardize=false") == (
        "knn",
        {"source_clusters": None, "pca": None, "standardize": False},
    )
    assert detector_spec("knn", {"standardize": False, "k": 1}) == "knn"
    assert detector_spec(*parse_detector("knn:pca=8,k=3")) == "knn:k=3,pca=8"


@pytest.mark.parametrize("name", DETECTORS)
def test_parameters_have_defaults_that_can_be_written_and_read(name):
    defaults = parameters(name)
    line = f"{name}:{','.join(f'{key}={value_text(value)}' for key, value in defaults.items())}"
    assert parse_detector(line) == (name, defaults)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("knm", r"unknown detector: 'knm'; did you mean knn\? choose from knn, gmm"),
        ("mahalanobis:center=mean", "did you mean centre"),
        ("knn:k", "expected key=value after the colon, got 'k'"),
        ("knn:", "expected key=value"),
        ("knn:k=two", "k=two: expected int"),
        ("knn:k=1,k=2", "given twice"),
        ("knn:bank=both", "expected one of pooled, two_bank"),
        ("knn:pca=half", "expected int or none"),
        ("knn:standardize=yes", "expected bool"),
    ],
)
def test_lines_that_do_not_fit(spec, match):
    with pytest.raises(ValueError, match=match):
        parse_detector(spec)


def test_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match=r"parameter of knn: 'neighbours'.*choose from k, bank"):
        make_detector("knn", neighbours=3)
    with pytest.raises(ValueError, match="parameter of lof"):
        detector_spec("lof", {"bank": 1})
