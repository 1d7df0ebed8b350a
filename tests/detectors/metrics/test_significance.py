"""Bootstrap tests of differences and Holm's correction: by hand, and by simulation of systems that are equally good."""

import numpy as np
import pytest

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.replicates import replicates_of
from detectors.metrics.scores import ScoreTable
from detectors.metrics.significance import holm, p_value, symmetric_interval


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; the last may not fall below 0.06."""
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, 0.9])), [1.0, 1.0])
    np.testing.assert_allclose(holm(np.array([0.03])), [0.03])
    assert len(holm(np.zeros(0))) == 0


@pytest.mark.parametrize("p", [[-0.1], [1.1], [np.nan], [[0.1]]])
def test_no_p_values_are_refused(p):
    with pytest.raises(ValueError, match="p-values: expected shape"):
        holm(np.array(p))


def test_a_p_value_by_hand():
    """Deviations from 2 are 0, 1, 1, 2, 3: two of five are at least 2, and the observed clips count as one more."""
    assert p_value(2.0, np.array([2.0, 1.0, 3.0, 4.0, -1.0])) == pytest.approx(3 / 6)
    assert p_value(-2.0, -np.array([2.0, 1.0, 3.0, 4.0, -1.0])) == pytest.approx(3 / 6)
    assert p_value(0.0, np.zeros(9)) == 1.0
    assert p_value(5.0, np.full(99, 5.0)) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="at least one replicate"):
        p_value(1.0, np.zeros(0))


def test_an_interval_holds_zero_where_the_p_value_is_above_its_level():
    rng = np.random.default_rng(0)
    held = []
    for difference in np.linspace(0.5, 3.5, 40):
        replicates = difference + rng.normal(size=999)
        low, high = symmetric_interval(difference, replicates)
        assert difference - low == pytest.approx(high - difference)
        p = p_value(difference, replicates)
        if abs(p - 0.05) > 0.002:
            assert (low <= 0 <= high) == (p > 0.05)
        held.append(low <= 0)
    assert set(held) == {True, False}


def labels_of(clips):
    target, anomaly, _ = (axis.ravel() for axis in np.indices((2, 2, clips)))
    keys = tuple(map(str, range(len(target))))
    same = np.full(len(keys), "00")
    return Labels(keys, same, same, np.where(target, "target", "source"), anomaly == 1)


def test_of_equally_good_systems_hardly_ever_is_one_called_different():
    """5 systems with correlated errors, the first against four: 200 times, each at a risk of 5 % of any false one."""
    labels, rng = labels_of(8), np.random.default_rng(3)
    any_false, any_uncorrected = 0, 0
    for _ in range(200):
        shared = labels.is_anomaly + 0.5 * rng.normal(size=len(labels.keys))
        systems = [ScoreTable("x", labels.keys, shared + 0.7 * rng.normal(size=len(shared))) for _ in range(5)]
        scores = np.array([evaluate(system, labels, 2023).score for system in systems])
        drawn = replicates_of(systems, labels, 2023, 199, rng).score
        p = np.array([p_value(scores[i] - scores[0], drawn[i] - drawn[0]) for i in range(1, 5)])
        any_false += (holm(p) <= 0.05).any()
        any_uncorrected += (p <= 0.05).any()
    assert any_false / 200 <= 0.09  # 5 % and 2.6 standard errors
    assert any_uncorrected / 200 > 0.05, "without a correction the risk is larger"
    assert any_uncorrected > any_false


def test_a_better_system_is_found():
    labels, rng = labels_of(20), np.random.default_rng(4)
    good = ScoreTable("x", labels.keys, 2.0 * labels.is_anomaly + rng.normal(size=len(labels.keys)))
    bad = ScoreTable("x", labels.keys, rng.normal(size=len(labels.keys)))
    drawn = replicates_of([good, bad], labels, 2023, 499, rng).score
    lead = evaluate(good, labels, 2023).score - evaluate(bad, labels, 2023).score
    assert p_value(lead, drawn[0] - drawn[1]) < 0.01
