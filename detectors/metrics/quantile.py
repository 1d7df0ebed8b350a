"""The threshold of a stated false-alarm rate: an order statistic of honest reference scores."""

import math

import numpy as np


def quantile_rank(n: int, rate: float) -> int:
    """Place, from 1 to n, of the threshold among n sorted reference scores: ceil((n + 1)(1 - rate)), at most n."""
    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)  # 1e-9: 25 * (1 - 0.44) is 14, not 15
    return min(max(rank, 1), n)


def quantile_value(reference: np.ndarray, rate: float) -> float:
    """The ceil((n + 1)(1 - rate))-th smallest reference score: at most `rate` false alarms in expectation.

    Where n is too small for the rate, it is the largest reference score, whose expected rate is 1 / (n + 1).
    """
    return float(np.sort(reference)[quantile_rank(len(reference), rate) - 1])
