import math

import numpy as np
import pytest

from ensemble.decision.thresholds import THRESHOLDS, given_threshold, rate_interval, threshold

SCORES = np.array([0.8, 1.1, 0.9, 1.3, 1.0, 1.2, 0.95, 1.05, 1.4, 0.85])


def test_published_gamma_threshold_and_the_error_of_a_free_location():
    stats = pytest.importorskip("scipy.stats")
    shape, loc, scale = stats.gamma.fit(SCORES, floc=0)
    assert (shape, loc, scale) == pytest.approx((32.960104705, 0, 0.032008393), rel=1e-6)
    assert threshold(SCORES, method="gamma").value == pytest.approx(1.2962879556, abs=1e-8)
    # A free location falls below the sixth of ten scores instead of the ninth; numpy's percentile says 1.31.
    assert threshold(SCORES, method="gamma").value > 1.1801 + 0.1
    assert abs(threshold(SCORES, method="gamma").value - np.percentile(SCORES, 90)) < 0.02


@pytest.mark.parametrize(
    ("n", "rate", "rank"),
    [
        (9, 0.1, 9),
        (10, 0.1, 10),
        (19, 0.1, 18),
        (99, 0.1, 90),
        (99, 0.05, 95),
        (3, 0.5, 2),
        (1, 0.5, 1),
        (24, 0.44, 14),
    ],
)
def test_rank_of_the_quantile(n, rate, rank):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    result = threshold(scores, rate=rate)
    assert (result.value, result.n, result.note) == (rank, n, "")
    assert result.expected == pytest.approx((n + 1 - rank) / (n + 1))
    assert result.expected <= rate + 1e-12
    assert result.low < result.expected < result.high


def test_the_expected_rate_and_its_interval_hold():
    """Scores uniform on [0, 1] exceed a threshold t at the rate 1 - t exactly."""
    rng = np.random.default_rng(0)
    for n in (9, 30, 100):
        rates = [1 - threshold(rng.random(n)).value for _ in range(4000)]
        result = threshold(rng.random(n))
        assert np.mean(rates) == pytest.approx(result.expected, abs=0.004)
        np.testing.assert_allclose(np.quantile(rates, [0.025, 0.975]), [result.low, result.high], rtol=0.15, atol=0.005)


def test_the_interval_is_that_of_the_beta_distribution_of_the_rate():
    """Of n scores k are not above the threshold: the rate is Beta(n + 1 - k, k). For k = 1 of 1 it is uniform."""
    stats = pytest.importorskip("scipy.stats")
    one = threshold(np.array([1.0]), rate=0.5)
    assert (one.expected, one.low, one.high) == pytest.approx((0.5, 0.025, 0.975))
    few = threshold(SCORES, rate=0.3)  # the 8th of 10
    assert (few.expected, few.low, few.high) == pytest.approx((3 / 11, *stats.beta.ppf([0.025, 0.975], 3, 8)))
    below = given_threshold(0.0, SCORES)
    assert (below.expected, below.low, below.high) == pytest.approx((1.0, 0.025 ** (1 / 11), 1.0))


def test_too_few_clips_give_a_note():
    result = threshold(np.array([3.0, 1.0, 2.0]), rate=0.1)
    assert result.value == 3
    assert result.expected == 1 / 4
    assert result.note == (
        "3 training clips are too few for a false-alarm rate of 0.1; their largest score is the threshold, which gives "
        "0.25; at least 9 clips are needed"
    )
    assert threshold(np.array([5.0]), rate=0.1).value == 5


def test_ties_at_the_threshold_are_not_reported():
    result = threshold(np.ones(20))
    assert result.value == 1
    assert result.expected == 1 / 21


def test_a_given_threshold_states_its_rate():
    result = given_threshold(1.15, SCORES)
    assert (result.method, result.value, result.expected) == ("given", 1.15, 4 / 11)
    assert math.isnan(result.requested)
    below = given_threshold(0.0, SCORES)
    assert (below.expected, below.high) == (1, 1)
    assert 0.5 < below.low < 1
    with pytest.raises(ValueError, match="finite number, got nan"):
        given_threshold(math.nan, SCORES)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="unknown threshold: 'otsu'; choose from gamma, quantile"):
        threshold(SCORES, method="otsu")
    for rate in (0, 1, -0.1):
        with pytest.raises(ValueError, match="rate must be between 0 and 1"):
            threshold(SCORES, rate=rate)
    for method in THRESHOLDS:
        with pytest.raises(ValueError, match="one row of finite reference scores"):
            threshold(np.array([]), method=method)
        with pytest.raises(ValueError, match="one row of finite reference scores"):
            threshold(np.array([1.0, np.nan]), method=method)
    with pytest.raises(ValueError, match="a gamma threshold needs positive reference scores"):
        threshold(np.array([1.0, -1.0, 2.0]), method="gamma")
    with pytest.raises(ValueError, match="use the quantile rule"):
        threshold(np.ones(5), method="gamma")


def test_clips_that_are_worth_fewer_widen_the_interval_alone():
    for alike, alone in (
        (threshold(SCORES, rate=0.3, worth=3.0), threshold(SCORES, rate=0.3)),
        (given_threshold(1.15, SCORES, 3.0), given_threshold(1.15, SCORES)),
    ):
        assert (alike.value, alike.n, alike.expected) == (alone.value, alone.n, alone.expected)
        assert (alike.low, alike.high) == rate_interval(alone.expected, 3.0)
        assert alike.low < alone.low < alone.high < alike.high
