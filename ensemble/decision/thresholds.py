"""Thresholds at a stated false-alarm rate, from the honest scores of normal training clips.

What is promised holds for normal clips like the training clips. Under a domain shift the real rate can be several times
the stated one (0.94 instead of 0.1 has been seen); without anomalies nothing can be said about misses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FALSE_ALARM_RATE = 0.1


@dataclass(frozen=True)
class Threshold:
    """A clip is reported when its score is above `value`.

    `asked` is the false-alarm rate asked for, `expected` the one to expect from `n` training clips, [`low`, `high`] the
    95 % interval of the real rate on normal clips like them: which clips happened to be in training decides it. `note`
    says where the rate asked for cannot be promised.
    """

    value: float
    method: str
    n: int
    asked: float
    expected: float
    low: float
    high: float
    note: str = ""


def quantile_value(reference: np.ndarray, rate: float) -> float:
    """The ceil((n + 1)(1 - rate))-th smallest reference score: at most `rate` false alarms in expectation.

    Where n is too small for the rate, the largest reference score, whose expected rate is 1 / (n + 1).
    """
    rank = math.ceil((len(reference) + 1) * (1 - rate) - 1e-9)  # 1e-9: 25 * (1 - 0.44) is 14, not 15
    return float(np.sort(reference)[min(max(rank, 1), len(reference)) - 1])


def gamma_value(reference: np.ndarray, rate: float) -> float:
    """The 1 - rate quantile of a gamma distribution fitted to positive reference scores, its location held at 0.

    A free location, as in the official baseline, is unstable: on ten ordinary scores it sits at their minimum with a
    shape below 1, and the quantile falls far below the empirical one.
    """
    if (reference <= 0).any() or np.ptp(reference) == 0:
        raise ValueError(
            "a gamma threshold needs positive reference scores that differ, got "
            f"{len(reference)} from {reference.min():g} to {reference.max():g}; use the quantile"
        )
    from scipy.stats import gamma

    shape, _, scale = gamma.fit(reference, floc=0)
    return float(gamma.ppf(1 - rate, shape, loc=0, scale=scale))


THRESHOLDS: dict[str, Callable[[np.ndarray, float], float]] = {"quantile": quantile_value, "gamma": gamma_value}


def threshold(reference: np.ndarray, *, rate: float = FALSE_ALARM_RATE, method: str = "quantile") -> Threshold:
    """Threshold from honest reference scores (n,) at the false-alarm rate `rate`."""
    if method not in THRESHOLDS:
        raise ValueError(f"unknown threshold {method!r}; choose from {', '.join(sorted(THRESHOLDS))}")
    if not 0 < rate < 1:
        raise ValueError(f"the false-alarm rate must be between 0 and 1, got {rate}")
    reference = _checked(reference)
    note = ""
    if method == "quantile" and rate < 1 / (len(reference) + 1) - 1e-12:
        note = (
            f"{len(reference)} training clips cannot promise a false-alarm rate of {rate:g}: the largest of their "
            f"scores gives {1 / (len(reference) + 1):.3g}; {math.ceil(1 / rate - 1e-9) - 1} clips are needed"
        )
    return _stated(THRESHOLDS[method](reference, rate), method, reference, rate, note)


def given_threshold(value: float, reference: np.ndarray) -> Threshold:
    """A threshold set by hand, with the false-alarm rate that the reference scores let expect of it."""
    if not math.isfinite(value):
        raise ValueError(f"a threshold must be a finite number, got {value}")
    return _stated(value, "given", _checked(reference), math.nan, "")


def _checked(reference: np.ndarray) -> np.ndarray:
    reference = np.asarray(reference, dtype=np.float64)
    if reference.ndim != 1 or not len(reference) or not np.isfinite(reference).all():
        raise ValueError(f"a threshold needs one row of finite reference scores, got shape {reference.shape}")
    return reference


def _stated(value: float, method: str, reference: np.ndarray, asked: float, note: str) -> Threshold:
    """The threshold with its false-alarm rate: Beta(n + 1 - k, k) when k of n reference scores are not above it."""
    n = len(reference)
    k = int((reference <= value).sum())
    low, high = _rate_interval(n, k)
    return Threshold(value, method, n, asked, (n + 1 - k) / (n + 1), low, high, note)


def _rate_interval(n: int, k: int) -> tuple[float, float]:
    """Middle 95 % of Beta(n + 1 - k, k), the rate at which a new normal score exceeds the k-th smallest of n."""
    if k == 0:
        return (0.025 ** (1 / (n + 1)), 1.0)  # below every reference score: only a lower bound can be given
    from scipy.stats import beta

    low, high = beta.ppf([0.025, 0.975], n + 1 - k, k)
    return float(low), float(high)
