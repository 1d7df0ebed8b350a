"""Thresholds at a stated false-alarm rate, from the honest scores of normal training clips.

The stated rate holds for normal clips like the training clips. Under a domain shift the real rate can be several times
higher (0.94 instead of 0.1 has been measured). Without anomalies the miss rate is unknown.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.metrics.quantile import quantile_value
from featstore.spec import unknown
from featstore.terminal.shown import counted

FALSE_ALARM_RATE = 0.1
GIVEN = "given"
"""Method of a threshold set by hand."""


@dataclass(frozen=True)
class Threshold:
    """A clip is reported when its score is above `value`.

    `requested` is the false-alarm rate asked for (NaN for a threshold given by hand), `expected` the one to expect with
    `n` training clips, and [`low`, `high`] the 95 % interval of the real rate on normal clips like them, which depends
    on the training clips drawn and counts them as the independent ones that they are worth. `note` is not empty where
    `n` is too small for the requested rate.
    """

    value: float
    method: str
    n: int
    requested: float
    expected: float
    low: float
    high: float
    note: str = ""


def gamma_value(reference: np.ndarray, rate: float) -> float:
    """The 1 - rate quantile of a gamma distribution with location 0, fitted to positive reference scores.

    A free location, as in the official baseline, is unstable: on ten ordinary scores the fit puts it at their minimum
    with a shape below 1, and the quantile is far below the empirical one.
    """
    if (reference <= 0).any() or np.ptp(reference) == 0:
        raise ValueError(
            "a gamma threshold needs positive reference scores that differ, got "
            f"{len(reference)} from {reference.min():g} to {reference.max():g}; use the quantile rule"
        )
    from scipy.stats import gamma

    shape, _, scale = gamma.fit(reference, floc=0)
    return float(gamma.ppf(1 - rate, shape, loc=0, scale=scale))


THRESHOLDS: dict[str, Callable[[np.ndarray, float], float]] = {"quantile": quantile_value, "gamma": gamma_value}


def threshold(
    reference: np.ndarray, *, rate: float = FALSE_ALARM_RATE, method: str = "quantile", worth: float | None = None
) -> Threshold:
    """Threshold from honest reference scores (n,) at the false-alarm rate `rate`.

    worth: how many independent scores they are, None for n; see `ensemble.decision.blocks`.
    """
    if method not in THRESHOLDS:
        raise ValueError(unknown("threshold", method, sorted(THRESHOLDS)))
    if not 0 < rate < 1:
        raise ValueError(f"the false-alarm rate must be between 0 and 1, got {rate}")
    reference = _checked(reference)
    note = ""
    if method == "quantile" and rate < 1 / (len(reference) + 1) - 1e-12:
        note = (
            f"{counted(len(reference), 'training clip')} {'is' if len(reference) == 1 else 'are'} too few for a "
            f"false-alarm rate of {rate:g}; their largest score is the threshold, which gives "
            f"{1 / (len(reference) + 1):.3g}; at least {math.ceil(1 / rate - 1e-9) - 1} clips are needed"
        )
    rates = _rates(value := THRESHOLDS[method](reference, rate), reference, worth)
    return Threshold(value, method, len(reference), rate, *rates, note)


def given_threshold(value: float, reference: np.ndarray, worth: float | None = None) -> Threshold:
    """A threshold set by hand, with the false-alarm rate to expect by the reference scores; worth as in `threshold`."""
    if not math.isfinite(value):
        raise ValueError(f"a threshold must be a finite number, got {value}")
    reference = _checked(reference)
    return Threshold(value, GIVEN, len(reference), math.nan, *_rates(value, reference, worth))


def _checked(reference: np.ndarray) -> np.ndarray:
    reference = np.asarray(reference, dtype=np.float64)
    if reference.ndim != 1 or not len(reference) or not np.isfinite(reference).all():
        raise ValueError(f"a threshold needs one row of finite reference scores, got shape {reference.shape}")
    return reference


def _rates(value: float, reference: np.ndarray, worth: float | None) -> tuple[float, float, float]:
    """Expected rate and its interval: Beta(n + 1 - k, k) when k of n reference scores are not above the threshold."""
    n = len(reference)
    expected = (n + 1 - int((reference <= value).sum())) / (n + 1)
    return expected, *rate_interval(expected, n if worth is None else worth)


def rate_interval(expected: float, n: float) -> tuple[float, float]:
    """Middle 95 % of the rates at which a new normal score exceeds the threshold on n independent reference scores.

    With k of n scores not above the threshold, the rate is Beta(n + 1 - k, k), and `expected`, its mean, is
    (n + 1 - k) / (n + 1).
    """
    above, below = expected * (n + 1), (1 - expected) * (n + 1)
    if below < 1e-9:
        return (0.025 ** (1 / (n + 1)), 1.0)  # below every reference score: only a lower bound exists
    from scipy.special import betaincinv  # the quantile of a beta distribution; scipy.stats takes long to load

    low, high = betaincinv(above, below, [0.025, 0.975])
    return float(low), float(high)
