"""Nearest neighbours by plain float64 arithmetic, and kinds of data that are hard for the fast searches."""

import numpy as np

KINDS = (
    "gaussian",
    "clustered",
    "alike",
    "constant",
    "heavy",
    "copies",
    "zeros",
    "opposite",
    "outlier",
    "huge",
    "tiny",
    "sparse",
)


def data(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Float32 (n, d) of one of KINDS."""
    X = rng.normal(size=(n, d))
    if kind == "clustered":
        X = rng.normal(size=(5, d))[rng.integers(0, 5, n)] + 0.01 * X
    elif kind == "alike":
        X = 1 + 1e-6 * X
    elif kind == "constant":
        X = np.repeat(np.where(np.arange(d) == d // 2, 1, 1e-3 * rng.random(d))[None], n, axis=0)
    elif kind == "heavy":
        X = rng.standard_cauchy(size=(n, d)) ** 3
    elif kind == "copies":
        X = rng.normal(size=(3, d))[rng.integers(0, 3, n)]
    elif kind == "zeros":
        X[rng.random(n) < 0.4] = 0
    elif kind == "opposite":
        X = (X[:1] + 1e-3 * X) * rng.choice([-1, 1], size=(n, 1))
    elif kind == "outlier":
        X = 1 + 1e-5 * X
        X[n // 2] = 0
        X[n // 2, 0] = -1
    elif kind == "huge":
        X = X / np.abs(X).max() * 3.4e38
    elif kind == "tiny":
        X *= 10.0 ** rng.uniform(-44, -36, size=(n, 1))
    elif kind == "sparse":
        X *= rng.random(size=(n, d)) < 0.1
    return X.astype(np.float32)


def units(X: np.ndarray) -> np.ndarray:
    """Rows at length 1; zero rows stay zero."""
    X = X.astype(np.float64)
    length = np.sqrt(np.square(X).sum(axis=1, keepdims=True))
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0)


def distances(queries: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Cosine distance (m, n); a zero row is at 0 from other zero rows and at 2 from all others."""
    left, right = units(queries), units(bank)
    distance = np.stack([0.5 * np.square(right - row).sum(axis=1) for row in left]).clip(max=2)
    distance[left.any(axis=1)[:, None] != right.any(axis=1)] = 2
    return distance


def check_nearest(queries, bank, distance, ids, exclude=None) -> None:
    """Assert that distances and ids (m, k) are those of the k nearest rows, equal rows ordered by id."""
    every = distances(queries, bank)
    if exclude is not None:
        rows = np.flatnonzero(exclude >= 0)
        every[rows, exclude[rows]] = np.inf
    k = ids.shape[1]
    expected = np.argsort(every, axis=1, kind="stable")[:, :k]
    np.testing.assert_allclose(distance, np.take_along_axis(every, expected, axis=1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(distance, np.take_along_axis(every, ids, axis=1), rtol=0, atol=1e-12)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all(), "a row occurs twice"
    for query in np.flatnonzero((ids != expected).any(axis=1)):  # distances that differ only by rounding may swap
        for row in ids[query]:
            copies = np.flatnonzero((bank == bank[row]).all(axis=1) & np.isfinite(every[query]))
            assert np.isin(copies[copies < row], ids[query]).all(), "copies with lower ids must come first"
    same = np.diff(distance, axis=1) == 0
    assert (np.diff(ids, axis=1)[same] > 0).all(), "equal distances must be ordered by id"
