"""Which (transform, severity) pairs say something about candidates, found without labels.

A pair that hardly any detector notices, or every one, ranks candidates by noise, and one whose ranking nobody else
shares ranks them by what is no concern of real faults. Three questions, none of which needs a label: do candidates
detect it on average; does it rank them alike on two halves of the clips; do the other pairs agree with its ranking?
"""

from collections.abc import Callable

import numpy as np

DETECTED = 0.5
"""Least value of the average candidate: below chance, normal clips of a rare domain outrank the anomalies."""

SATURATED = 0.98
ROUNDS = 50
AVERAGE, BEST, BEST_COUNT = 0.55, 0.75, 20


def ranks(values: np.ndarray) -> np.ndarray:
    """Rank (1 = lowest) within each column of (n, q), ties averaged."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=0), dtype=np.float64)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of the columns of `first` (n, q) with those, or the one, of `second`; 0 without spread."""
    a, b = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    size = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    product = (a * b).sum(axis=0)
    correlation: np.ndarray = np.divide(product, size, out=np.zeros_like(product), where=size > 0)
    return correlation


def agreement(values: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Weights (q,) of pairs from values (candidates, q): reliable, detected, and in agreement with the others.

    halves: the same values on either half of the clips. The weight is the Spearman-Brown reliability times the rank
    correlation with the weighted mean rank of all pairs, found by iteration.
    """
    half = np.clip(spearman(*halves), 0, None)
    average = values.mean(axis=0)
    base: np.ndarray = 2 * half / (1 + half) * (average > DETECTED) * (average < SATURATED)
    if not base.any():
        return base
    ranked, weights = ranks(values), base
    for _ in range(ROUNDS):
        before = weights
        weights = base * np.clip(spearman(ranked, (ranked @ weights)[:, None]), 0, None)
        if np.allclose(weights, before):
            break
    return weights


def average_detects(values: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """1 for pairs that the average candidate detects."""
    return np.asarray(values.mean(axis=0) > AVERAGE, dtype=np.float64)


def best_detect(values: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """1 for pairs that the best candidates detect."""
    best = np.sort(values, axis=0)[-BEST_COUNT:].mean(axis=0)
    return np.asarray(best > BEST, dtype=np.float64)


RULES: dict[str, Callable[[np.ndarray, tuple[np.ndarray, np.ndarray]], np.ndarray]] = {
    "agreement": agreement,
    "average": average_detects,
    "best": best_detect,
}


def candidate_figure(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean rank of each candidate over the pairs, scaled to [0, 1]; (n,)."""
    scaled = (ranks(values) - 1) / max(1, len(values) - 1)
    figure: np.ndarray = scaled @ weights / weights.sum()
    return figure
