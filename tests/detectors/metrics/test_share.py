"""Intervals of shares: those of binomial counts, with a length at 1, and nested by level."""

import numpy as np
import pytest

from detectors.metrics.share import Share, normal_quantile


def binomial(hits: int, clips: int, bias: float = 0.0) -> Share:
    """A share of independent clips of which `hits` are ranked rightly."""
    value = hits / clips
    return Share(value, bias, value * (1 - value) / clips, 1 / clips**2, clips)


@pytest.mark.parametrize(("hits", "clips"), [(0, 3), (3, 3), (20, 26), (26, 26), (500, 1000)])
def test_a_binomial_share_has_jeffreys_interval(hits, clips):
    beta = pytest.importorskip("scipy.stats").beta
    share = binomial(hits, clips)
    assert share.effective_clips == pytest.approx(clips)
    low, high = beta(hits + 0.5, clips - hits + 0.5).ppf([0.05, 0.95])
    assert share.interval(0.9) == pytest.approx((min(low, share.value), max(high, share.value)))


def test_a_perfect_share_has_a_length_and_holds_its_value():
    low, high = binomial(26, 26).interval(0.95)
    assert 0.85 < low < 0.95
    assert high == 1


def test_few_effective_clips_widen_and_a_lowest_value_scales():
    narrow, wide = (Share(0.8, 0.0, variance, 1e-4, 100) for variance in (1e-4, 1e-2))
    assert wide.effective_clips < narrow.effective_clips
    scaled = Share(0.9, 0.0, 1e-2 / 4, 1e-4 / 4, 100, lowest=0.5)
    assert scaled.effective_clips == pytest.approx(wide.effective_clips)
    assert scaled.interval(0.95) == pytest.approx([0.5 + limit / 2 for limit in wide.interval(0.95)])


def test_bias_moves_the_limits_but_the_value_stays_inside():
    plain, moved, far = (binomial(20, 26, bias).interval(0.95) for bias in (0.0, 0.05, 0.6))
    assert moved[0] < plain[0]
    assert moved[1] < plain[1]
    assert far[1] == binomial(20, 26).value


def test_levels():
    narrow, wide = (binomial(20, 26).interval(level) for level in (0.5, 0.95))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    for call in (binomial(1, 2).interval, normal_quantile):
        with pytest.raises(ValueError, match="level must be between 0 and 1, got 1"):
            call(1.0)
    assert np.isfinite(binomial(0, 3).interval(0.999)).all()
