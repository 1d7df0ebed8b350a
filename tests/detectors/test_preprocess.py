import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from detectors import make_detector
from detectors.preprocess import Whitening


@pytest.mark.parametrize("shape", [(100, 6), (8, 30)])
def test_agrees_with_scikit_learn(rng, shape):
    X, query = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1])) + 5, rng.normal(size=(4, shape[1]))
    standard = StandardScaler().fit(X)
    np.testing.assert_allclose(
        Whitening.of(X, standardize=True, pca=None)(query), standard.transform(query), rtol=1e-10
    )
    pca = PCA(4, whiten=True).fit(X)
    ours, theirs = Whitening.of(X, standardize=False, pca=4)(query), pca.transform(query)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-7)
    both = Whitening.of(X, standardize=True, pca=3)(X)
    np.testing.assert_allclose(np.cov(both.T), np.eye(3), atol=1e-10)


def test_no_more_components_than_the_clips_span(rng):
    X = rng.normal(size=(5, 20))
    assert Whitening.of(X, standardize=False, pca=64)(X).shape == (5, 4)
    collinear = np.column_stack([X[:, :2], X[:, :2].sum(axis=1)])
    assert Whitening.of(collinear, standardize=False, pca=3)(collinear).shape == (5, 2)


def test_constant_columns_keep_their_scale():
    X = np.column_stack([np.arange(6.0), np.full(6, 0.1), np.full(6, -80, dtype=np.float32)])
    whitening = Whitening.of(X, standardize=True, pca=None)
    np.testing.assert_allclose(whitening(X)[:, 1:], 0, atol=1e-15)
    np.testing.assert_allclose(whitening(X + np.array([0, 2, 0]))[:, 1], 2, rtol=1e-14)
    assert Whitening.of(X, standardize=False, pca=3)(X).shape == (6, 1)


def test_clips_without_spread_are_only_centred():
    X = np.repeat([[0.1, 0.2, 0.3]], 7, axis=0)
    np.testing.assert_allclose(Whitening.of(X, standardize=True, pca=2)(X + 1), 1, rtol=1e-12)


def test_axes_do_not_depend_on_row_order_or_chance(rng):
    X = rng.normal(size=(50, 5)) * [5, 4, 3, 2, 1]
    whitening, other = (Whitening.of(rows, standardize=False, pca=3) for rows in (X, X[::-1]))
    np.testing.assert_allclose(other(X), whitening(X), rtol=1e-9, atol=1e-12)


def test_reference_scores_are_what_new_clips_score(rng):
    """Whitened to nearly as many components as clips, training clips sit closer together than new ones."""
    X, new = rng.normal(size=(2, 60, 50))
    detector = make_detector("mahalanobis", pca=40).fit(X)
    fitted, honest, test = (s.mean() for s in (detector.anomaly_score(X), detector.reference_scores_,
                                               detector.anomaly_score(new)))  # fmt: skip
    assert fitted < 0.7 * test
    assert abs(honest - test) < 0.5 * (test - fitted)


@pytest.mark.parametrize("by", ["domain", "group"])
def test_domains_and_groups_reach_the_detector(rng, by):
    X = rng.normal(size=(40, 3)) + 5
    labels = {
        "domain": np.array(["source", "target"])[np.arange(40) % 2],
        "group": np.array(["a", "b"])[np.arange(40) // 20],
    }
    X[labels[by] == labels[by][-1]] += 9
    whitening = Whitening.of(X, standardize=True, pca=None)
    inner = make_detector("mahalanobis", by=by).learn(whitening(X), **labels)
    detector = make_detector("mahalanobis", by=by, standardize=True).learn(X, **labels)
    np.testing.assert_allclose(detector.anomaly_score(X), inner.anomaly_score(whitening(X)), rtol=1e-12)


def test_components_are_those_of_fits_to_all_other_clips_up_to_128(rng):
    X = rng.normal(size=(30, 50))
    honest = make_detector("knn", pca=6).fit(X).reference_scores_
    for i in (0, 29):
        rest = np.arange(30) != i
        other = make_detector("knn", pca=6).fit(X[rest])
        np.testing.assert_allclose(honest[i], other.anomaly_score(X[[i]])[0], rtol=1e-9)


def test_plain_detector_is_not_wrapped():
    assert type(make_detector("knn", standardize=False, pca=None)).__name__ == "KNN"
    assert type(make_detector("knn", standardize=True).detector).__name__ == "KNN"


def test_too_few_clips_for_k(rng):
    with pytest.raises(ValueError, match="at least 9 training clips, got 5"):
        make_detector("knn", k=9, standardize=True).fit(rng.normal(size=(5, 3)))


def test_k_of_all_clips_still_has_reference_scores(rng):
    detector = make_detector("knn", k=5, standardize=True).fit(rng.normal(size=(5, 3)))
    assert np.isfinite(detector.reference_scores_).all()
