"""Classifiers that tell source from target clips: log odds with equal priors, from few target clips.

A linear discriminant names domains that differ in the mean, also where clips vary much. The nearest clips name domains
of several clusters, such as kinds of background noise.
"""

from collections.abc import Callable

import numpy as np

from detectors.covariance import Moments, ledoit_wolf

SPREAD_FLOOR = 1e-6
"""What varies by less, relative to its size, counts as constant."""

NEIGHBOURS = 2
MOST_CLIPS = 500
"""Clips of a domain that others are compared with, evenly spaced, so that the time grows with the number of clips."""

Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(bank (n, d), whether each is a target clip (n,), judged (m, d)) -> log odds (m,) of the target domain."""


def standardised(X: np.ndarray, section: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Rows (n, d) by the mean and deviation of their section's bank clips; 0 where a section has none.

    Columns that do not vary among the bank clips of any section are left out.
    """
    Z = np.zeros(X.shape)
    for name in np.unique(section):
        here = section == name
        of_bank = X[here & bank].astype(np.float64)
        if not len(of_bank):
            continue
        centre, scale = of_bank.mean(axis=0), of_bank.std(axis=0)
        varies = scale > SPREAD_FLOOR * np.abs(of_bank).max(axis=0)
        Z[here] = np.where(varies, (X[here] - centre) / np.where(varies, scale, 1), 0)
    kept: np.ndarray = Z[:, Z[bank].any(axis=0)]
    return kept


def discriminant(bank: np.ndarray, target: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """By two Gaussians of one shrunk covariance."""
    source_mean, target_mean = bank[~target].mean(axis=0), bank[target].mean(axis=0)
    residuals = bank - np.where(target[:, None], target_mean, source_mean)
    covariance = ledoit_wolf(Moments.of(residuals))
    size = np.trace(covariance) / len(covariance)
    if size <= 0:
        return np.zeros(len(judged))
    direction = np.linalg.solve(covariance + 1e-9 * size * np.eye(len(covariance)), target_mean - source_mean)
    odds: np.ndarray = (judged - (source_mean + target_mean) / 2) @ direction
    return odds


def neighbours(bank: np.ndarray, target: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """By the ratio of the mean squared distances to the nearest source and target clips."""
    near_source, near_target = (_nearest(bank[target == is_target], judged) for is_target in (False, True))
    floor = SPREAD_FLOOR * max(float(near_source.mean()), float(near_target.mean()), np.finfo(np.float64).tiny)
    odds: np.ndarray = np.log((near_source + floor) / (near_target + floor))
    return odds


def _nearest(bank: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Mean squared distance (m,) of rows to the nearest NEIGHBOURS of a bank."""
    bank = bank[np.unique(np.linspace(0, len(bank) - 1, min(len(bank), MOST_CLIPS)).round().astype(int))]
    squared = np.square(judged).sum(axis=1)[:, None] + np.square(bank).sum(axis=1) - 2 * judged @ bank.T
    k = min(NEIGHBOURS, len(bank))
    nearest: np.ndarray = np.maximum(np.partition(squared, k - 1, axis=1)[:, :k], 0).mean(axis=1)
    return nearest


CLASSIFIERS: tuple[Classifier, ...] = (discriminant, neighbours)
