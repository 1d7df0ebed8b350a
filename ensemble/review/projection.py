"""Rows of an embedding in two dimensions, and the choice of rows for a picture that cannot show all of them.

PCA here is the exact one of at most FIT rows; all rows are placed by its two axes. UMAP needs the extra `umap`.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from featstore.errors import DataError

MOST = 20_000
"""Most points of a map."""

FIT = 20_000
VALUES = 1 << 26
"""Most rows, and most values of them, that the axes of a PCA are computed from."""

BLOCK = 4096
NEIGHBOURS = 15
FEWEST = 10
"""Fewest rows for UMAP."""

INSTALL = 'pip install "featstore[umap]"'
PCA, UMAP = "pca", "umap"
METHODS = (PCA, UMAP)


@dataclass(frozen=True, eq=False)
class Projection:
    """Points float32 (n, 2) of all rows. explained: share of the variance along each axis."""

    points: np.ndarray
    explained: tuple[float, float]


def chosen(strata: np.ndarray, keep: np.ndarray, most: int, *, seed: int = 0) -> np.ndarray:
    """At most `most` row numbers, rising: those of the mask `keep` first, then the same share of every stratum (n,).

    Every stratum has at least one row where there is room. The same arguments give the same rows. If `keep` has more
    than `most` rows, the choice is among these.
    """
    n = len(strata)
    if n <= most:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    _, group, size = np.unique(strata[order], return_inverse=True, return_counts=True)
    by_group = np.argsort(group, kind="stable")
    rank = np.empty(n, dtype=np.int64)
    rank[by_group] = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
    share = rank / size[group]
    first = np.lexsort((share, ~keep[order]))[:most]
    return np.sort(order[first])


def pca(X: np.ndarray, fit: np.ndarray) -> Projection:
    """All rows (n, d) along the two axes of largest variance of the rows `fit`; DataError for values not finite.

    The sign of an axis is that of its largest loading. An axis without variance has the coordinate 0.
    """
    from scipy.linalg import eigh

    n, d = len(fit), X.shape[1]
    mean = X[fit].mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise DataError("the rows have values that are not finite, so they have no projection")
    if d <= n:
        square = np.zeros((d, d))
        for start in range(0, n, BLOCK):
            centred = X[fit[start : start + BLOCK]] - mean
            square += centred.T @ centred
        total, axes = float(np.trace(square)), min(2, d)
        variance, loadings = eigh(square, subset_by_index=[d - axes, d - 1])
    else:
        centred = X[fit] - mean
        square = centred @ centred.T
        total, axes = float(np.trace(square)), min(2, n)
        variance, sides = eigh(square, subset_by_index=[n - axes, n - 1])
        length = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
        loadings = centred.T @ sides / length
    loadings, variance = loadings[:, ::-1], np.where(variance > 1e-12 * total, variance, 0.0)[::-1]
    largest = np.abs(loadings).argmax(axis=0)
    loadings = loadings * np.sign(loadings[largest, range(axes)]) * (variance > 0)
    points = np.zeros((len(X), 2), dtype=np.float32)
    for start in range(0, len(X), BLOCK):
        points[start : start + BLOCK, :axes] = (X[start : start + BLOCK] - mean) @ loadings
    share = [*(variance / total if total > 0 else variance).tolist(), 0.0][:2]
    return Projection(points, (share[0], share[1]))


def fit_rows(strata: np.ndarray, d: int) -> np.ndarray:
    """The rows that the axes of a PCA are computed from: all, or the same share of every stratum (n,)."""
    most = min(FIT, max(1000, VALUES // max(d, 1)))
    return chosen(strata, np.zeros(len(strata), dtype=bool), most)


def has_umap() -> bool:
    """Whether the extra is installed; it is not loaded."""
    return find_spec("umap") is not None


def umap_points(X: np.ndarray, seed: int = 0) -> np.ndarray:
    """Points float32 (n, 2) of rows (n, d) by UMAP on cosine distances, with one thread, so that a seed repeats them.

    DataError for fewer than FEWEST rows or values that are not finite.
    """
    if len(X) < FEWEST:
        raise DataError(f"UMAP needs at least {FEWEST} clips, here are {len(X)}")
    if not np.isfinite(X).all():
        raise DataError("the rows have values that are not finite, so they have no projection")
    reducer = import_module("umap").UMAP(
        n_components=2, n_neighbors=min(NEIGHBOURS, len(X) - 1), metric="cosine", random_state=seed, n_jobs=1
    )
    return np.asarray(reducer.fit_transform(X), dtype=np.float32)
