"""The distances of a search: half a squared Euclidean distance, of unit rows or of the rows themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.geometry import cosine_distance, squared_lengths, unit


@dataclass(frozen=True)
class Distance:
    """`prepare` turns rows into float64 rows, between which `of_pairs` computes the distances.

    These are half the squared Euclidean distances, or `farthest` where that is less. With `directions`, rows are
    prepared to length 1, and a zero row is at 0 from zero rows and at `farthest` from all others.
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    of_pairs: Callable[[np.ndarray, np.ndarray], np.ndarray]
    farthest: float
    directions: bool


def _float64(X: np.ndarray) -> np.ndarray:
    return X.astype(np.float64)


def _half_square(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    half: np.ndarray = 0.5 * squared_lengths(left - right)
    return half


DISTANCES = {
    "cosine": Distance(unit, cosine_distance, 2.0, directions=True),
    "euclidean": Distance(_float64, _half_square, np.inf, directions=False),
}


def distance_named(name: str) -> Distance:
    """Distance by name; ValueError for an unknown name lists the known ones."""
    if name not in DISTANCES:
        raise ValueError(f"unknown metric {name!r}; choose from {', '.join(DISTANCES)}")
    return DISTANCES[name]


def check_rows(rows: np.ndarray, what: str) -> np.ndarray:
    """Rows as a contiguous matrix of float32 or float64; ValueError for other shapes and values that are not finite."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected a matrix of numbers (n, d), got {rows.dtype} of shape {rows.shape}")
    rows = np.ascontiguousarray(rows, dtype=rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64)
    step = max(2**16 // max(rows.shape[1], 1), 1)  # a few rows at a time stay in the cache
    for start in range(0, len(rows), step):
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(rows[start : start + step].sum()):
                continue
        finite = np.isfinite(rows[start : start + step])
        if not finite.all():
            row = start + int(np.argmin(finite.all(axis=1)))
            raise ValueError(f"{what}: row {row} has a value that is NaN or infinite; every value must be finite")
    return rows
