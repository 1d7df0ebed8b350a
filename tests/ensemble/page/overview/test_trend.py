import math
import re

import numpy as np
import pytest
from scipy.stats import theilslopes

from ensemble.page.overview import trend as trend_module
from ensemble.page.overview.trend import (
    BUCKETS,
    LOWEST,
    Trend,
    course_of,
    kendall,
    points_of,
    slope_interval,
    trend_chart,
    trend_of,
)

DAY = 86400.0


def course(excess, times="steps", recordings=None, standing=None, scores=None):
    excess = np.asarray(excess, dtype=float)
    n = len(excess)
    at = np.arange(n) * DAY if isinstance(times, str) else times
    standing = excess > 1 if standing is None else np.asarray(standing)
    return course_of(at, excess, standing, recordings or [f"{i}.wav" for i in range(n)], scores)


@pytest.mark.parametrize("n", [8, 16])
def test_the_interval_is_that_of_scipy(n):
    y = np.random.default_rng(n).normal(size=n)
    _, _, low, high = theilslopes(y, np.linspace(0, 1, n), 0.99)
    np.testing.assert_allclose(slope_interval(y, 0.01), [low, high], atol=1e-12)


def test_the_interval_of_too_few_values_is_open():
    assert slope_interval(np.arange(4.0), 0.01) == (-np.inf, np.inf)


def test_the_test_by_hand():
    # S = 28 of 28 pairs, variance 8 * 7 * 21 / 18; and 24 with four ties of two
    assert kendall(np.arange(8.0)) == (1, pytest.approx(math.erfc(27 / math.sqrt(8 * 7 * 21 / 18) / math.sqrt(2))))
    tied = np.repeat([3.0, 2.0, 1.0, 0.0], 2)
    assert kendall(tied) == (-1, pytest.approx(math.erfc(23 / math.sqrt((1176 - 72) / 18) / math.sqrt(2))))
    assert kendall(np.ones(8)) == (0, 1.0)


def test_the_test_is_seldom_wrong():
    rng = np.random.default_rng(0)
    assert 10 < sum(kendall(rng.normal(size=16))[1] < 0.05 for _ in range(1000)) < 70


def test_rising_falling_and_steady_scores():
    rng = np.random.default_rng(0)
    rising = np.geomspace(0.2, 4, 200) * rng.uniform(0.7, 1.4, 200)
    trend = trend_of(course(rising))
    assert trend.direction == "rising"
    assert 0.2 < trend.first < 0.4  # the middles of the first and the last quarter are at 0.29 and 2.7
    assert 2 < trend.last < 4
    assert trend_of(course(rising[::-1])).direction == "falling"
    assert trend_of(course(rng.uniform(0.49, 0.51, 200))).direction == "steady"
    assert trend_of(course(np.full(200, 0.5))) == Trend("steady", 0.5, 0.5)


def test_a_step_is_a_trend():
    trend = trend_of(course([0.2] * 50 + [2.0] * 30))
    assert (trend.direction, trend.first, trend.last) == ("rising", pytest.approx(0.2), pytest.approx(2.0))


def test_noise_says_nothing():
    noise = 10 ** np.random.default_rng(1).normal(size=60)
    trend = trend_of(course(noise))
    assert str(trend) == ""


def test_many_sections_need_stronger_evidence():
    rising = np.geomspace(0.2, 4, 10)
    rising[[2, 3, 6, 7]] = rising[[3, 2, 7, 6]]
    assert trend_of(course(rising)).direction == "rising"
    assert trend_of(course(rising), sections=10_000).direction == ""


def test_the_order_of_names_is_no_trend():
    assert trend_of(course(np.geomspace(0.2, 4, 200), times=None)).direction == ""


def test_few_recordings_are_no_trend_however_many_windows_they_have():
    excess = np.repeat([0.2, 0.4, 0.8, 1.6], 50)
    four = [f"{i // 50}.wav" for i in range(200)]
    assert str(trend_of(course(excess, recordings=four))) == "too few clips for a trend"
    untimed = course_of(None, excess, excess > 1, four)
    assert not str(trend_of(untimed))
    eight = [f"{i // 25}.wav" for i in range(200)]
    assert trend_of(course(excess, recordings=eight)).direction == "rising"
    assert trend_of(course(excess, recordings=["one.wav"] * 200)).direction == "too few"


def test_clips_are_sorted_by_time_and_those_without_one_left_out():
    given = course([3, 1, 2, 9], times=np.array([3.0, 1.0, 2.0, np.nan]))
    np.testing.assert_array_equal(given.excess, [1, 2, 3])
    np.testing.assert_array_equal(given.times, [1, 2, 3])


def test_trends_in_words():
    assert str(Trend("rising", 0.42, 12.3)) == "scores are rising, typically from 0.4 times to 12 times the threshold"
    assert str(Trend("falling", 2, LOWEST)) == (
        "scores are falling, typically from 2.0 times to below 0.05 times the threshold"
    )
    assert str(Trend("steady", 0.5, 0.52)) == "scores are steady, typically 0.5 times the threshold"


def test_few_clips_are_points_of_their_own():
    points = points_of(course([0.5, 2, 0.1], times=np.array([0.0, 1.0, 10.0])))
    np.testing.assert_allclose(points.place, [0, 0.1, 1])
    np.testing.assert_array_equal(points.highest, [0.5, 2, 0.1])
    np.testing.assert_array_equal(points.standing, [False, True, False])
    assert points.by_time
    assert points.medians.shape == (2, 0)


def test_many_clips_share_points_and_none_of_the_highest_is_lost():
    excess = np.full(100_000, 0.3)
    excess[77_777] = 9
    points = points_of(course(excess))
    assert len(points.place) == BUCKETS
    assert points.highest.max() == 9
    assert points.standing.sum() == 1
    np.testing.assert_allclose(points.place[points.standing], 0.77777, atol=1e-4)
    np.testing.assert_allclose(points.medians[1], 0.3)


def test_a_dismissed_clip_does_not_hide_a_standing_one():
    excess = np.full(1000, 0.3)
    excess[500:502] = 9, 2
    standing = np.zeros(1000, dtype=bool)
    standing[501] = True
    points = points_of(course(excess, standing=standing))
    assert points.highest[points.standing].tolist() == [2]


def test_one_wrong_date_does_not_squeeze_all_others_into_a_point():
    times = np.append(-50 * 365 * DAY, np.arange(99) * 60.0)
    points = points_of(course(np.full(100, 0.5), times=times))
    assert not points.by_time
    np.testing.assert_allclose(np.diff(points.place), 1 / 99)


@pytest.mark.parametrize("excess", [[], [0.5], [0.5, 9999.0, 0.0]])
@pytest.mark.parametrize("times", ["steps", None])
def test_a_chart_of_any_number_of_clips(excess, times):
    chart = trend_chart(course(excess, times), 9999.0, "label <of> it")
    assert "label &lt;of&gt; it" in chart
    assert "nan" not in chart
    assert chart.count("h0") == sum(value <= 1 for value in excess)
    assert chart.count("h-7z") == sum(value > 1 for value in excess)


def test_a_chart_shows_9_times_and_1_2_times_apart():
    chart = trend_chart(course([0.5, 1.2, 9.0]), 9.0, "")
    line = float(re.search(r'd="M34 ([\d.]+)H', chart)[1])
    small, large = (float(y) + 4 for y in re.findall(r"M[\d.]+ ([\d.-]+)l3.5", chart))
    assert large < small - 15
    assert 2 < line - small < 6


def wrong_trends(lengths, runs=1500):
    """Share of runs with a trend, of recordings without one: windows of a recording are alike."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(runs):
        of = np.repeat(np.arange(len(sizes := lengths(rng))), sizes)
        scores = rng.normal(size=len(sizes))[of] + 0.5 * rng.normal(size=len(of))
        trend = trend_of(course(10**scores, recordings=[str(i) for i in of], scores=scores))
        wrong += trend.direction in ("rising", "falling")
    return wrong / runs


@pytest.mark.parametrize("recordings", [17, 24, 40])
def test_the_stated_level_holds_for_recordings_of_any_length(recordings):
    assert wrong_trends(lambda rng: 1 + (4 * rng.lognormal(0, 1.2, recordings)).astype(int), 800) < 0.02


def test_one_long_recording_is_one_value():
    assert wrong_trends(lambda rng: np.array([3] * 10 + [100] + [3] * 9), 800) < 0.02


def test_parts_are_of_equally_many_recordings():
    ratios = np.geomspace(0.2, 4, 31)  # 15 parts of two, the oldest recording is left out
    trend = trend_of(course(ratios))
    assert trend.direction == "rising"
    assert trend.first == pytest.approx(ratios[3:5].mean())
    assert trend.last == pytest.approx(ratios[27:29].mean())
    ratios = np.geomspace(0.2, 4, 100)  # 16 parts of six: few left out are better than few parts
    assert trend_of(course(ratios)).first == pytest.approx(np.median([ratios[4 + i :][:6] for i in (6, 12)]))


def test_scores_below_the_scale_are_tested_and_never_steady():
    rng = np.random.default_rng(0)
    falling = np.linspace(0, -5, 40) + 0.3 * rng.normal(size=40)
    trend = trend_of(course(np.full(40, 0.01), scores=falling))
    assert trend.direction == "falling"
    assert str(trend) == "scores are falling, but typically stay below 0.05 times the threshold"
    assert trend_of(course(np.full(40, 0.01), scores=rng.normal(size=40))).direction == ""


def test_the_median_of_every_recording():
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(40), rng.integers(1, 7, 40))
    values = rng.integers(0, 5, len(number)).astype(float)
    shuffled = rng.permutation(len(number))
    expected = [np.median(values[number == i]) for i in range(40)]
    np.testing.assert_array_equal(trend_module._median_of(values[shuffled], number[shuffled]), expected)
    assert len(trend_module._median_of(np.zeros(0), np.zeros(0, dtype=np.intp))) == 0
