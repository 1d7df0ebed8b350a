"""Placement values against a table by hand, against leaving clips out, and against binomial sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.metrics.auc import pauc
from detectors.metrics.placement import placements, standardised

tied_scores = st.lists(st.integers(-3, 4).map(float), min_size=1, max_size=20).map(np.array)
relaxed = settings(max_examples=60, deadline=None)


def test_delong_by_hand():
    """Normal clips 1, 2, 3 and anomalies 2, 4: the placements of anomalies are 1/2, 1, of normal clips 1, 3/4, 1/2."""
    placed = placements(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0]), 1.0)
    assert placed.area == pytest.approx(0.75)
    np.testing.assert_allclose(placed.anomaly * 2, [-0.25, 0.25])
    np.testing.assert_allclose(placed.normal * 3, [0.25, 0.0, -0.25], atol=1e-15)
    variance = 2 * np.sum(placed.anomaly**2) + 3 / 2 * np.sum(placed.normal**2)
    assert variance == pytest.approx(1 / 12)  # 1/8 / 2 + 1/16 / 3 (DeLong et al. 1988)
    assert placed.bias == 0


@relaxed
@given(tied_scores, tied_scores, st.sampled_from([0.1, 0.3, 1.0]))
def test_contributions_are_those_of_leaving_a_clip_out(normal, anomaly, max_fpr):
    placed = placements(normal, anomaly, max_fpr)
    value = pauc(normal, anomaly, max_fpr)
    assert standardised(placed.area, max_fpr) == pytest.approx(value, abs=1e-12)
    n, m, unit = len(normal), len(anomaly), 1 - standardised(0, max_fpr)
    for i in range(n if n > 1 else 0):
        lost = value - pauc(np.delete(normal, i), anomaly, max_fpr)
        assert placed.normal[i] * unit == pytest.approx(lost * (n - 1) / n, abs=1e-12)
    for i in range(m if m > 1 else 0):
        lost = value - pauc(normal, np.delete(anomaly, i), max_fpr)
        assert placed.anomaly[i] * unit == pytest.approx(lost * (m - 1) / m, abs=1e-12)


@pytest.mark.parametrize("n", [3, 13, 20, 70])
def test_bias_is_that_of_binomial_counts(n):
    binom = pytest.importorskip("scipy.stats").binom
    rng = np.random.default_rng(n)
    normal, anomaly = rng.normal(size=n), rng.normal(size=9) + 1.5
    above = (normal[:, None] > anomaly).sum(axis=0)
    counts = np.arange(n + 1)
    drawn = [binom.pmf(counts, n, k / n) @ np.maximum(0, 1 - counts / n / 0.1) for k in above]
    expected = np.mean(drawn - np.maximum(0, 1 - above / n / 0.1))
    assert placements(normal, anomaly, 0.1).bias == pytest.approx(expected, abs=1e-12)
