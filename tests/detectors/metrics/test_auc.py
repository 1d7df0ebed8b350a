import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.metrics.auc import auc, pauc, percentile_interval, resamples, weighted_pauc

NORMAL = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.55])
ANOMALY = np.array([0.95, 0.85, 0.75, 0.65, 0.45, 0.35, 0.96, 0.97, 0.15, 0.9])
LOWEST = 0.47368421052631576  # of a standardised pAUC at 0.1: 0.5 * (1 - 0.005 / 0.095)

tied_scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25).map(np.array)
relaxed = settings(max_examples=60, deadline=None)


def test_hand_computed_values():
    assert auc(NORMAL, ANOMALY) == pytest.approx(0.715, abs=1e-15)
    assert pauc(NORMAL, ANOMALY) == pytest.approx(0.6578947368421052, abs=1e-15)
    assert pauc(NORMAL, ANOMALY, 0.2) == pytest.approx(0.6805555555555556, abs=1e-15)
    assert pauc(NORMAL, ANOMALY, 0.05) == pytest.approx(0.6538461538461537, abs=1e-15)


@pytest.mark.parametrize(
    ("normal", "anomaly", "expected_auc", "expected_pauc"),
    [([1, 1, 1], [1, 1], 0.5, 0.5), ([2, 3], [0, 1], 0.0, LOWEST), ([0, 1], [2, 3], 1.0, 1.0)],
    ids=["all ties", "inverted", "perfect"],
)
def test_limits(normal, anomaly, expected_auc, expected_pauc):
    assert auc(np.array(normal), np.array(anomaly)) == expected_auc
    assert pauc(np.array(normal), np.array(anomaly)) == pytest.approx(expected_pauc, abs=1e-15)


@relaxed
@given(tied_scores, tied_scores, st.sampled_from([0.05, 0.1, 0.2, 0.5, 1.0]))
def test_equal_scikit_learn_with_ties(normal, anomaly, max_fpr):
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    truth = np.repeat([0, 1], [len(normal), len(anomaly)])
    scores = np.concatenate([normal, anomaly])
    assert auc(normal, anomaly) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert pauc(normal, anomaly, max_fpr) == pytest.approx(roc_auc_score(truth, scores, max_fpr=max_fpr), abs=1e-12)


@relaxed
@given(tied_scores, tied_scores)
def test_swapping_classes_mirrors_the_auc(normal, anomaly):
    assert auc(normal, anomaly) + auc(anomaly, normal) == pytest.approx(1, abs=1e-12)
    assert auc(normal, anomaly) == pytest.approx(auc(-anomaly, -normal), abs=1e-12)


@relaxed
@given(tied_scores, tied_scores)
def test_increasing_transforms_and_row_order_change_nothing(normal, anomaly):
    assert auc(np.exp(normal), np.exp(anomaly)) == auc(normal, anomaly)
    assert pauc(normal[::-1] ** 3, anomaly[::-1] ** 3) == pauc(normal, anomaly)


def test_inputs_stay_as_they_were():
    normal, anomaly = NORMAL.copy(), ANOMALY.copy()
    normal.flags.writeable = anomaly.flags.writeable = False
    assert auc(normal, anomaly) == auc(NORMAL, ANOMALY)
    assert pauc(normal, anomaly) == pauc(NORMAL, ANOMALY)


@pytest.mark.parametrize("metric", [auc, pauc])
def test_a_missing_class_is_named(metric):
    with pytest.raises(ValueError, match="no anomaly clips"):
        metric(NORMAL, np.array([]))
    with pytest.raises(ValueError, match="no normal clips"):
        metric(np.array([]), ANOMALY)


@pytest.mark.parametrize("metric", [auc, pauc])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(metric, bad):
    with pytest.raises(ValueError, match="anomaly scores must be finite"):
        metric(NORMAL, np.array([1.0, bad]))


def test_shape_and_range_are_checked():
    with pytest.raises(ValueError, match=r"shape \(10, 1\)"):
        auc(NORMAL[:, None], ANOMALY)
    with pytest.raises(ValueError, match="max_fpr must be in"):
        pauc(NORMAL, ANOMALY, 0.0)


def test_weights_count_as_copies():
    rng = np.random.default_rng(0)
    normal, anomaly = rng.integers(0, 6, 12).astype(float), rng.integers(2, 8, 9).astype(float)
    weights = rng.integers(0, 4, (5, 21)).astype(float)
    weights[:, 0] = weights[:, 12] = 1  # neither class may vanish
    for max_fpr, metric in ((0.1, pauc), (1.0, auc)):
        got = weighted_pauc(normal, anomaly, weights[:, :12], weights[:, 12:], max_fpr)
        copies = [
            metric(np.repeat(normal, row[:12].astype(int)), np.repeat(anomaly, row[12:].astype(int))) for row in weights
        ]
        np.testing.assert_allclose(got, copies, rtol=0, atol=1e-12)


def test_resamples_keep_the_size_of_every_stratum():
    strata = np.array(["a", "b", "a", "c", "b", "a"])
    drawn = np.concatenate(list(resamples(strata, 200, np.random.default_rng(1))))
    assert drawn.shape == (200, 6)
    for stratum in "abc":
        np.testing.assert_array_equal(drawn[:, strata == stratum].sum(axis=1), np.sum(strata == stratum))
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.2)
    assert drawn[:, 0].std() > 0.5


def test_resamples_come_in_blocks_that_add_up(monkeypatch):
    monkeypatch.setattr("detectors.metrics.auc._BLOCK", 70)
    blocks = list(resamples(np.zeros(10), 25, np.random.default_rng(1)))
    assert [len(block) for block in blocks] == [7, 7, 7, 4]
    with pytest.raises(ValueError, match="replicates must be at least 1"):
        list(resamples(np.zeros(3), 0, np.random.default_rng(1)))


def test_percentile_interval():
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        percentile_interval(np.arange(3.0), 1.0)
