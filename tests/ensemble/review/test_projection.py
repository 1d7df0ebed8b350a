"""Projections against scikit-learn's, and the choice of rows for a picture."""

import sys
import types

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ensemble.review import projection
from ensemble.review.projection import chosen, fit_rows, pca, umap_points
from featstore.errors import DataError


@pytest.mark.parametrize(("n", "d"), [(200, 7), (9000, 5), (30, 90), (3, 2)])
def test_pca_is_that_of_sklearn(rng: np.random.Generator, n: int, d: int) -> None:
    X = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 50).astype(np.float32)
    X.flags.writeable = False
    fit = np.arange(n)[: max(3, n - 5)]
    reference = PCA(2, svd_solver="full").fit(X[fit].astype(np.float64))
    expected = reference.transform(X.astype(np.float64))
    found = pca(X, fit)
    assert found.points.dtype == np.float32
    for axis in (0, 1):
        sign = np.sign(expected[:, axis] @ found.points[:, axis])
        np.testing.assert_allclose(
            sign * found.points[:, axis], expected[:, axis], rtol=0, atol=2e-4 * np.abs(expected).max()
        )
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, rtol=1e-4)


def test_the_same_rows_give_the_same_points(rng: np.random.Generator) -> None:
    X = rng.normal(size=(50, 6)).astype(np.float32)
    np.testing.assert_array_equal(pca(X, np.arange(50)).points, pca(X, np.arange(50)).points)
    mirrored = pca(X, np.arange(50)[::-1])
    np.testing.assert_allclose(mirrored.points, pca(X, np.arange(50)).points, rtol=0, atol=1e-5)


@pytest.mark.parametrize("X", [np.ones((5, 4)), np.ones((1, 3)), np.arange(6.0)[:, None], np.zeros((4, 1))])
def test_axes_without_variance_are_zero(X: np.ndarray) -> None:
    found = pca(X.astype(np.float32), np.arange(len(X)))
    assert np.isfinite(found.points).all()
    assert (found.points[:, 1] == 0).all()
    assert found.explained == pytest.approx((1.0 if np.ptp(X) else 0.0, 0.0))


def test_a_row_beside_the_fitted_line_has_no_second_coordinate() -> None:
    X = np.array([[0, 0], [1, 0], [2, 0], [5, 7]], dtype=np.float32)
    np.testing.assert_allclose(pca(X, np.arange(3)).points, [[-1, 0], [0, 0], [1, 0], [4, 0]], rtol=0, atol=1e-6)


def test_values_that_are_not_finite_are_refused() -> None:
    X = np.array([[1, np.nan], [2, 3]], dtype=np.float32)
    with pytest.raises(DataError, match="not finite"):
        pca(X, np.arange(2))
    with pytest.raises(DataError, match="not finite"):
        umap_points(np.full((20, 2), np.inf, dtype=np.float32))


def test_a_choice_keeps_what_must_be_kept_and_shares_out_the_rest(rng: np.random.Generator) -> None:
    strata = np.repeat([0, 1, 2], [8000, 1990, 10])
    keep = np.zeros(10_000, dtype=bool)
    keep[rng.choice(10_000, 100, replace=False)] = True
    rows = chosen(strata, keep, 1000)
    assert len(rows) == len(set(rows.tolist())) == 1000
    assert (np.diff(rows) > 0).all()
    assert np.isin(np.flatnonzero(keep), rows).all()
    rest = np.bincount(strata[np.setdiff1d(rows, np.flatnonzero(keep))], minlength=3)
    assert rest[0] / rest[1] == pytest.approx(8000 / 1990, rel=0.1)
    assert np.isin(2, strata[rows]), "no stratum is left out"
    np.testing.assert_array_equal(rows, chosen(strata, keep, 1000))
    assert not np.array_equal(rows, chosen(strata, keep, 1000, seed=1))


def test_a_choice_of_all_and_of_too_many_kept() -> None:
    np.testing.assert_array_equal(chosen(np.zeros(5), np.zeros(5, dtype=bool), 5), np.arange(5))
    kept = np.arange(100) < 60
    rows = chosen(np.arange(100) % 3, kept, 30)
    assert len(rows) == 30
    assert kept[rows].all()


def test_axes_are_fitted_to_a_bounded_number_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    strata = np.arange(50_000) % 7
    assert len(fit_rows(strata, 10)) == projection.FIT
    assert len(fit_rows(strata, 1 << 14)) == projection.VALUES >> 14
    assert len(fit_rows(strata[:40], 1 << 20)) == 40


def test_umap_is_asked_for_a_seeded_map_by_cosine(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    asked: dict[str, object] = {}

    class Fake:
        def __init__(self, **options: object) -> None:
            asked.update(options)

        def fit_transform(self, X: np.ndarray) -> np.ndarray:
            return X[:, :2].astype(np.float64)

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Fake))
    X = rng.normal(size=(12, 3)).astype(np.float32)
    np.testing.assert_array_equal(umap_points(X, seed=3), X[:, :2])
    assert umap_points(X).dtype == np.float32
    assert (asked["metric"], asked["n_neighbors"], asked["n_jobs"]) == ("cosine", 11, 1)
    assert asked["random_state"] == 0
    with pytest.raises(DataError, match="at least 10 clips, here are 9"):
        umap_points(X[:9])
