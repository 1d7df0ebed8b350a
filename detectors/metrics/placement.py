"""Placement values: how much each clip contributes to an AUC or to a partial AUC.

Areas are shares of the largest possible area: 1 is perfect, and with `max_fpr=1` the area is the AUC.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Placements:
    """The area under a ROC up to a false-alarm rate, and what each of n normal clips and m anomalies contributes to it.

    normal (n,), anomaly (m,): what the area loses without the clip, times (n - 1) / n or (m - 1) / m. The sum of their
    squares is about the variance of the area; the variance of DeLong et al. (1988) follows from them.
    bias: expected area minus the area with infinitely many normal clips, 0 for an AUC. The mean of a false-alarm rate
    that is cut off at `max_fpr` is too low if the rate itself varies, so partial areas are too large.
    """

    area: float
    bias: float
    normal: np.ndarray
    anomaly: np.ndarray


def placements(normal: np.ndarray, anomaly: np.ndarray, max_fpr: float) -> Placements:
    """Placements of finite scores of normal clips (n,) and anomalies (m,), at least one of each; ties count half."""
    n, m = len(normal), len(anomaly)
    ordered = np.sort(normal)
    above = n - np.searchsorted(ordered, anomaly, side="right")
    not_below = n - np.searchsorted(ordered, anomaly, side="left")
    hit = _hit(above, not_below, n, max_fpr)
    area = float(hit.mean())
    bias = _bias(hit, (above + not_below) / (2 * n), n, max_fpr) if max_fpr < 1 else 0.0
    if n == 1:
        return Placements(area, bias, np.zeros(1), (hit - area) / m)
    # the hits of all anomalies where one normal clip is left out that scores above them, as high, or below
    order = np.argsort(anomaly)
    above, not_below = above[order], not_below[order]
    if_above = _sums(_hit(np.maximum(above - 1, 0), np.maximum(not_below - 1, 0), n - 1, max_fpr))
    if_equal = _sums(_hit(np.minimum(above, n - 1), np.maximum(not_below - 1, above), n - 1, max_fpr))
    if_below = _sums(_hit(np.minimum(above, n - 1), np.minimum(not_below, n - 1), n - 1, max_fpr))
    first, last = (np.searchsorted(anomaly[order], normal, side=side) for side in ("left", "right"))
    without = (if_above[first] + if_equal[last] - if_equal[first] + if_below[-1] - if_below[last]) / m
    return Placements(area, bias, (area - without) * (n - 1) / n, (hit - area) / m)


def standardised(area: float, max_fpr: float) -> float:
    """An area as the official metric, McClish's (1989) standardised pAUC; the AUC itself for `max_fpr=1`."""
    return (1 - max_fpr + area) / (2 - max_fpr)


def _hit(above: np.ndarray, not_below: np.ndarray, n: int, max_fpr: float) -> np.ndarray:
    """Area (m,) of each anomaly with `above` normal clips above it and `not_below - above` ties.

    It is the mean of max(0, 1 - rate / max_fpr) over the false-alarm rates between the two.
    """
    low, high = above / n, not_below / n
    flat = np.maximum(1 - low / max_fpr, 0)
    below_limit = (np.minimum(rate, max_fpr) for rate in (low, high))
    start, end = (rate - rate**2 / (2 * max_fpr) for rate in below_limit)
    area: np.ndarray = np.divide(end - start, high - low, out=flat, where=high > low)
    return area


def _sums(values: np.ndarray) -> np.ndarray:
    """Sum of the first k values, for k = 0 to all."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _bias(hit: np.ndarray, rate: np.ndarray, n: int, max_fpr: float) -> float:
    """Mean excess of areas `hit` where the number of normal clips above an anomaly is binomial (n, rate)."""
    from scipy.special import bdtr

    most = np.floor(n * max_fpr + 1e-9)  # 0.29 * 100 is 28.999999999999996
    # the mean of max(0, 1 - count / (n * max_fpr)), as count * binomial(n, rate) is n * rate * binomial(n - 1, rate)
    lower = bdtr(most - 1, n - 1, rate) if most else 0.0
    return float(np.mean(bdtr(most, n, rate) - rate / max_fpr * lower - hit))
