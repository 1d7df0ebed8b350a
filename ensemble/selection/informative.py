"""Weights of (transform, severity) pairs, without labels: which of them separate the candidates in a useful way.

A pair that almost no candidate detects, or almost every one, ranks the candidates by noise. A pair with a ranking
unlike that of the other pairs ranks them by something that real faults do not share. So a pair is weighted by three
criteria: the average candidate detects it, two halves of the clips rank the candidates alike, and the other pairs agree
with its ranking.
"""

from collections.abc import Callable

import numpy as np

DETECTED = 0.5
"""Least value of the average candidate; below chance, normal clips of a rare domain rank above the anomalies."""

SATURATED = 0.98
"""Greatest value of the average candidate."""

ITERATIONS = 50
AVERAGE, BEST, BEST_COUNT = 0.55, 0.75, 20


def ranks(values: np.ndarray) -> np.ndarray:
    """Rank (1 = lowest) within each column of (n, q), ties averaged."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=0), dtype=np.float64)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of each column of `first` (n, q) with that of `second` (n, q or 1); 0 without spread."""
    a, b = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    size = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    product = (a * b).sum(axis=0)
    correlation: np.ndarray = np.divide(product, size, out=np.zeros_like(product), where=size > 0)
    return correlation


def by_agreement(values: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Weights (q,) of pairs from values (candidates, q): high for a detected pair with a reliable, shared ranking.

    halves: the values on each half of the clips. The weight is the Spearman-Brown reliability times the rank
    correlation with the weighted mean rank of all pairs, found by iteration.
    """
    half = np.clip(spearman(*halves), 0, None)
    average = values.mean(axis=0)
    base: np.ndarray = 2 * half / (1 + half) * (average > DETECTED) * (average < SATURATED)
    if not base.any():
        return base
    ranked, weights = ranks(values), base
    for _ in range(ITERATIONS):
        previous = weights
        weights = base * np.clip(spearman(ranked, (ranked @ weights)[:, None]), 0, None)
        if np.allclose(weights, previous):
            break
    return weights


def by_average(values: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Weight 1 for pairs that the average candidate detects, else 0."""
    return np.asarray(values.mean(axis=0) > AVERAGE, dtype=np.float64)


def by_best(values: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Weight 1 for pairs that the best candidates detect, else 0."""
    best = np.sort(values, axis=0)[-BEST_COUNT:].mean(axis=0)
    return np.asarray(best > BEST, dtype=np.float64)


RULES: dict[str, Callable[[np.ndarray, tuple[np.ndarray, np.ndarray]], np.ndarray]] = {
    "agreement": by_agreement,
    "average": by_average,
    "best": by_best,
}


def mean_rank(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean rank of each candidate over the pairs, (n,), scaled to [0, 1]; 1 is best."""
    scaled = (ranks(values) - 1) / max(1, len(values) - 1)
    rank: np.ndarray = scaled @ weights / weights.sum()
    return rank
