"""VarMin: scores by hand and by a plain form of the formula, honest reference scores, and the bank with offsets."""

import numpy as np
import pytest

from detectors import create, density
from detectors.banks.varmin import leave_one_out, slope, varmin_bank
from detectors.knn import KNN
from detectors.search import neighbours
from detectors.search.neighbours import Bank, nearest


def at(*degrees: float) -> np.ndarray:
    """Unit vectors at these angles."""
    angle = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def half(degrees: float) -> float:
    return float(0.5 - 0.5 * np.cos(np.deg2rad(degrees)))


def plain_scores(X: np.ndarray, queries: np.ndarray, K: int) -> np.ndarray:
    """The published formula, row by row, for rows without copies or zeros."""

    def unit(Z):
        return Z / np.linalg.norm(Z, axis=1, keepdims=True)

    X, queries = unit(X), unit(queries)
    D = 0.5 * (1 - X @ X.T)
    np.fill_diagonal(D, np.inf)
    b = np.sort(D, axis=1)[:, :K].mean(axis=1)
    u, v = D.min(axis=1), b[D.argmin(axis=1)]
    alpha = np.cov(u, v)[0, 1] / np.var(v, ddof=1)
    return (0.5 * (1 - queries @ X.T) - alpha * b).min(axis=1)


def test_a_score_by_hand():
    """Angles 0, 1, 3, 7, and one neighbour: u is the gap to the nearest, v the nearest's own gap."""
    u = np.array([half(1), half(1), half(2), half(4)])
    v = np.array([half(1), half(1), half(1), half(2)])  # nearest: 1, 0, 1, 3 (degrees)
    alpha = ((u - u.mean()) * (v - v.mean())).sum() / np.square(v - v.mean()).sum()
    b = u
    gaps = np.array([[half(2), half(1), half(1), half(5)], [half(12), half(11), half(9), half(5)]])
    expected = (gaps - alpha * b).min(axis=1)
    scores = KNN(varmin=1).fit(at(0, 1, 3, 7)).anomaly_score(at(2, 12))
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert scores[0] < 0, "not clipped"
    assert np.argmin(gaps[0] - alpha * b) != np.argmin(gaps[0]), "the least is taken after the subtraction"


@pytest.mark.parametrize("K", [1, 4])
def test_scores_equal_the_published_formula(rng, K):
    X, queries = rng.normal(size=(50, 6)), rng.normal(size=(20, 6))
    scores = KNN(varmin=K).fit(X).anomaly_score(queries)
    np.testing.assert_allclose(scores, plain_scores(X, queries, K), rtol=1e-9, atol=1e-12)


def test_bands_are_the_mean_of_the_bands_apart(rng):
    X, queries = rng.normal(size=(50, 12)), rng.normal(size=(20, 12))
    expected = np.mean([plain_scores(X[:, i : i + 4], queries[:, i : i + 4], 4) for i in (0, 4, 8)], axis=0)
    detector = create("knn:bands=3,varmin=4").fit(X)
    np.testing.assert_allclose(detector.anomaly_score(queries), expected, rtol=1e-9, atol=1e-12)


def test_without_varmin_and_bands_it_is_the_plain_search(rng):
    X, queries = rng.normal(size=(30, 8)), rng.normal(size=(9, 8))
    plain, same = create("knn").fit(X), create("knn:bands=1,varmin=0").fit(X)
    np.testing.assert_array_equal(same.anomaly_score(queries), plain.anomaly_score(queries))
    np.testing.assert_array_equal(same.reference_scores_, plain.reference_scores_)


@pytest.mark.parametrize("spec", ["knn:varmin=4", "knn:varmin=1,k=2", "knn:bands=2,varmin=3", "knn:k=30,varmin=2"])
@pytest.mark.parametrize("kind", ["distinct", "one zero", "copies", "zeros"])
def test_reference_scores_equal_refitting(rng, monkeypatch, spec, kind):
    monkeypatch.setattr(density, "ROWS", 7)
    X = rng.normal(size=(31, 4))
    if kind == "one zero":
        X[12] = 0
    if kind in ("copies", "zeros"):
        X[5:8], X[9] = X[0], 2 * X[10]
    if kind == "zeros":
        X[12:14], X[14:17, :2], X[20, 2:] = 0, 0, 0
    brute = [create(spec).fit(np.delete(X, i, axis=0)).anomaly_score(X[[i]])[0] for i in range(len(X))]
    np.testing.assert_allclose(create(spec).fit(X).reference_scores_, brute, rtol=1e-8, atol=1e-12)


def test_more_than_twenty_clips_are_left_out_one_by_one(rng):
    """Ten folds would give other scores: the exact form is in use."""
    X, none = rng.normal(size=(60, 4)), np.full(60, "")
    detector = KNN(varmin=4).fit(X)
    assert np.abs(detector.reference_scores_ - detector.cross_fitted(X, none, none)).max() > 1e-6


@pytest.mark.parametrize("option", [{"smote": 1.0}, {"memmixup": 3}, {"source_clusters": 5}, {"bank": "two_bank"}])
def test_beside_other_options_all_are_cross_fitted(rng, option):
    X, none = rng.normal(size=(60, 4)), np.full(60, "")
    domain = np.array(["source"] * 48 + ["target"] * 12)
    detector = KNN(varmin=4, **option).fit(X, domain=domain)
    np.testing.assert_array_equal(detector.reference_scores_, detector.cross_fitted(X, domain, none))


def test_few_rows_have_no_offsets(rng):
    X = rng.normal(size=(9, 5))
    for n, lowered in ((1, False), (2, False), (5, False), (6, True), (9, True)):
        bank, first = varmin_bank(X[:n], 4)
        assert bool(bank.offset.any()) is lowered
        assert len(first) == len(bank.rows) == n
    assert leave_one_out(X[:6], 4, 1) is None
    assert leave_one_out(X[:7], 4, 1) is not None


def test_copies_count_once(rng):
    X, queries = rng.normal(size=(20, 5)), rng.normal(size=(10, 5))
    once, often = KNN(varmin=3).fit(X), KNN(varmin=3).fit(np.concatenate([X, X[:4], 2 * X[:4]]))
    np.testing.assert_allclose(often.anomaly_score(queries), once.anomaly_score(queries), rtol=1e-9)
    assert sorted(often.bank_rows_[0]) == list(range(20))


def test_a_zero_row_changes_nothing_but_the_score_of_zeros(rng):
    X, queries = rng.normal(size=(20, 5)), rng.normal(size=(10, 5))
    plain, zeros = KNN(varmin=3).fit(X), KNN(varmin=3).fit(np.concatenate([X, np.zeros((2, 5))]))
    np.testing.assert_allclose(zeros.anomaly_score(queries), plain.anomaly_score(queries), rtol=1e-9)
    assert plain.anomaly_score(np.zeros((1, 5)))[0] > 0.1
    assert zeros.anomaly_score(np.zeros((1, 5)))[0] <= 0


def test_equal_spacing_has_no_slope():
    assert slope(np.array([1.0, 2, 4]), np.full(3, 0.3)) == 0
    assert slope(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])) == pytest.approx(0.5)


def test_sparse_regions_are_forgiven(rng):
    """Two clips as far from a loose and from a dense cluster: only VarMin tells them apart."""
    loose, dense = at(*np.arange(0, 40, 4.0)), at(*np.arange(100, 110, 1.0))
    rows = np.concatenate([loose, dense])
    queries = at(-4, 113)
    plain, varmin = KNN().fit(rows).anomaly_score(queries), KNN(varmin=4).fit(rows).anomaly_score(queries)
    np.testing.assert_allclose(plain[0], plain[1])
    assert varmin[0] < varmin[1]


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("level", "spread"), [(0.0, 1.0), (1e6, 0.01)])
def test_a_bank_with_offsets_is_searched_exactly(rng, monkeypatch, k, level, spread):
    """Also beyond the size that plain searches have, and where float32 keeps few digits beside the offsets."""
    monkeypatch.setattr(neighbours, "LITTLE", 0)
    monkeypatch.setattr(neighbours, "LITTLE_UNLOADED", 0)
    rows, queries = rng.normal(size=(700, 9)), rng.normal(size=(40, 9))
    rows[3], queries[5] = 0, 0
    offset = spread * rng.normal(size=700) + level
    plain_distance, row = nearest(queries, rows, 700)
    distance = np.empty((40, 700))
    np.put_along_axis(distance, row, plain_distance, axis=1)
    distance -= offset
    exclude = np.arange(40)
    distance[np.arange(40), exclude] = np.inf
    found, at_row = nearest(queries, Bank.of(rows, offset=offset), k, exclude=exclude)
    np.testing.assert_array_equal(at_row, distance.argsort(axis=1)[:, :k])
    np.testing.assert_allclose(found, np.sort(distance, axis=1)[:, :k], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("offset", [np.zeros(3), np.array([0.0, np.nan]), np.array([0.0, 1e30])])
def test_unusable_offsets_are_refused(offset):
    with pytest.raises(ValueError, match=r"offset: expected a finite value of at most 2\*\*50 for each of 2 rows"):
        Bank.of(np.eye(2), offset=offset)
    with pytest.raises(ValueError, match="metric=euclidean"):
        Bank.of(np.eye(2), "euclidean", np.zeros(2))
