"""Nearest neighbours in the plainest float64, and data of the kinds that break faster ways."""

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
    """Cosine distance (m, n); rows without direction are at 2 from all others and at 0 from each other."""
    left, right = units(queries), units(bank)
    found = np.stack([0.5 * np.square(right - row).sum(axis=1) for row in left]).clip(max=2)
    some_left, some_right = left.any(axis=1), right.any(axis=1)
    found[some_left[:, None] != some_right] = 2
    return found


def check_nearest(queries, bank, distance, ids, exclude=None) -> None:
    """Assert that lists (m, k) are those of the k nearest rows, equal rows by id."""
    every = distances(queries, bank)
    if exclude is not None:
        rows = np.flatnonzero(exclude >= 0)
        every[rows, exclude[rows]] = np.inf
    k = ids.shape[1]
    expected = np.argsort(every, axis=1, kind="stable")[:, :k]
    np.testing.assert_allclose(distance, np.take_along_axis(every, expected, axis=1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(distance, np.take_along_axis(every, ids, axis=1), rtol=0, atol=1e-12)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all(), "a row was found twice"
    for query in np.flatnonzero((ids != expected).any(axis=1)):  # rows that are as far but for rounding took turns
        for row in ids[query]:
            copies = np.flatnonzero((bank == bank[row]).all(axis=1) & np.isfinite(every[query]))
            assert np.isin(copies[copies < row], ids[query]).all(), "of copies those with the lowest ids are nearest"
    same = np.diff(distance, axis=1) == 0
    assert (np.diff(ids, axis=1)[same] > 0).all(), "equal distances are not in the order of ids"
