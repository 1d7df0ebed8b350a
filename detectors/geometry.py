"""Numerics on rows of vectors: unit length, cosine distances, and the geometric median."""

import numpy as np

SUMS = 64
"""Partial sums of `squared_lengths`: a compiled loop adds that many values at a time."""


def squared_lengths(X: np.ndarray) -> np.ndarray:
    """Sum of the squares of each row of float64 X (n, d), in the order of `search.kernels`, so equal bit for bit.

    Column j is added to partial sum j modulo SUMS. Then the upper half of the sums is added to the lower half, until
    one sum is left.
    """
    sums = np.square(X[:, :SUMS])
    for start in range(SUMS, X.shape[1], SUMS):
        squares = np.square(X[:, start : start + SUMS])
        sums[:, : squares.shape[1]] += squares
    sums, half = np.ascontiguousarray(sums.T), SUMS // 2  # numpy adds long rows faster
    while half:
        upper = sums[half:]
        sums[: len(upper)] += upper
        sums, half = sums[:half], half // 2
    return np.asarray(sums.sum(axis=0))  # of at most one row


def unit(X: np.ndarray) -> np.ndarray:
    """Scale each row to length 1, float64; a zero row stays zero. Huge and tiny rows keep their direction."""
    out = np.empty(X.shape)
    step = max(2**15 // max(X.shape[1], 1), 1)  # a few rows at a time stay in the cache
    for start in range(0, len(X), step):
        rows = out[start : start + step]
        rows[...] = X[start : start + step]
        with np.errstate(over="ignore"):
            squares = squared_lengths(rows)
        unsafe = ~((squares > 1e-290) & (squares < 1e290))  # squares may have overflowed or underflowed
        if unsafe.any():
            size = np.abs(rows[unsafe]).max(axis=1, initial=0.0)
            rows[unsafe] /= np.where(size > 0, size, 1)[:, None]
            squares[unsafe] = np.where(size > 0, squared_lengths(rows[unsafe]), 1)
        rows *= (1 / np.sqrt(squares))[:, None]
    return out


def cosine_distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1 - cosine of each pair of unit rows (n, d), in [0, 2]; equal rows are at 0 exactly.

    Computed as half the squared Euclidean distance, which keeps its digits near 0 where 1 - cosine loses them. A zero
    row has no direction: its distance is 2 to every other row and 0 to another zero row.
    """
    offset = left - right
    distance: np.ndarray = np.minimum(0.5 * squared_lengths(offset), 2.0)
    suspect = np.flatnonzero(np.abs(distance - 0.5) < 1e-9)  # the distance of a unit row to a zero row
    if len(suspect):
        left, offset = left[suspect], offset[suspect]
        one_zero = ~left.any(axis=1) != (offset == left).all(axis=1)
        distance[suspect[one_zero]] = 2.0
    return distance


def geometric_median(X: np.ndarray, *, tolerance: float = 1e-8, max_iterations: int = 1000) -> np.ndarray:
    """Point (d,) with the smallest sum of distances to the rows of X; unique unless the rows lie on one line.

    Weiszfeld's iteration starts at the coordinate-wise median and follows the rule of Vardi and Zhang (2000) where an
    iterate equals a row. It stops at a step below `tolerance` times the spread.
    """
    X = np.asarray(X, dtype=np.float64)
    point: np.ndarray = np.median(X, axis=0)
    spread = float(np.abs(X - point).max())
    for _ in range(max_iterations):
        offsets = X - point
        lengths = np.sqrt(np.square(offsets).sum(axis=1))
        away = lengths > 1e-14 * spread
        if not away.any():
            return point
        weights = 1.0 / lengths[away]
        pull = weights @ offsets[away]
        strength = float(np.sqrt(pull @ pull))
        on_point = np.count_nonzero(~away)
        if strength <= on_point:
            return point
        step: np.ndarray = (1.0 - on_point / strength) * pull / weights.sum()
        point = point + step
        if np.sqrt(step @ step) <= tolerance * spread:
            break
    nearest: np.ndarray = X[np.square(X - point).sum(axis=1).argmin()]  # convergence to a row is slow
    to_nearest, to_point = (np.sqrt(np.square(X - centre).sum(axis=1)).sum() for centre in (nearest, point))
    return nearest.copy() if to_nearest <= to_point else point
