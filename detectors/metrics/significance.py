"""Whether two systems differ: a two-sided bootstrap test of their difference, and Holm's correction for several tests.

The replicates are those of the difference on the same resampled clips (`replicates`). Their deviation from the observed
difference shows how far a difference of 0 can be exceeded by chance, so the interval and the p-value both come from it:
the interval holds 0 where p is above 1 - level (up to the replicates that count as observed).
"""

import numpy as np

from detectors.metrics.share import check_level

EQUAL = 1e-12
"""Differences of metrics up to which they are rounding errors."""


def symmetric_interval(difference: float, replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Limits that are as far from the difference as `level` of its replicates (n,) are at most (Hall 1988)."""
    check_level(level)
    half = float(np.quantile(np.abs(replicates - difference), level, method="higher"))
    return difference - half, difference + half


def p_value(difference: float, replicates: np.ndarray) -> float:
    """Share of the replicates (n,) that deviate from the difference by as much as the difference does from 0.

    The observed clips count as one replicate (Davison and Hinkley 1997), so the least value is 1 / (n + 1).
    """
    if not len(replicates):
        raise ValueError("a p-value needs at least one replicate, got none")
    as_far = np.abs(replicates - difference) >= abs(difference) - EQUAL
    return (1 + int(np.count_nonzero(as_far))) / (1 + len(replicates))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values (k,) by Holm (1979): with those up to 0.05 significant, the risk of any false one is 5 %."""
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values: expected shape (k,) of numbers from 0 to 1, got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
