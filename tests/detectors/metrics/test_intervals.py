"""Bootstrap intervals: they contain the metric, have the width of the theory, and compare two systems."""

import numpy as np
import pytest

from detectors.metrics.intervals import bootstrap, compare
from detectors.metrics.labels import Labels
from detectors.metrics.official import RULES, evaluate
from detectors.metrics.scores import ScoreTable


def tabled(scores):
    return ScoreTable("random", tuple(scores), np.array(list(scores.values())))


def random_year(rng, n=40, shift=1.0):
    """Labels of two machines with `n` clips per domain and class, and scores whose anomalies lie `shift` higher."""
    rows = [
        (machine, domain, is_anomaly, i)
        for machine in ("fan", "pump")
        for domain in ("source", "target")
        for is_anomaly in (False, True)
        for i in range(n)
    ]
    machine, domain, is_anomaly, _ = (np.array(column) for column in zip(*rows, strict=True))
    keys = tuple("-".join(map(str, row)) for row in rows)
    scores = rng.normal(size=len(rows)) + shift * is_anomaly
    return Labels(keys, machine, np.full(len(rows), "00"), domain, is_anomaly), dict(zip(keys, scores, strict=True))


def test_intervals_hold_the_point_and_have_the_right_width():
    labels, scores = random_year(np.random.default_rng(0))
    table = tabled(scores)
    result = bootstrap(table, labels, 2023, np.random.default_rng(1), replicates=2000)
    evaluation = evaluate(table, labels, 2023)
    assert result.score.value == evaluation.score
    assert result.score.low < evaluation.score < result.score.high
    for row in evaluation.rows:
        for name, value in row.values.items():
            interval = result.sections[row.machine, row.section][name]
            assert interval.low < interval.value == value < interval.high
    # Hanley and McNeil (1982): the standard error of an AUC of `a` from n normal clips and m anomalies
    interval = result.sections["fan", "00"]["auc"]
    a, n, m = interval.value, 80, 80
    variance = a * (1 - a) + (m - 1) * (a / (2 - a) - a**2) + (n - 1) * (2 * a**2 / (1 + a) - a**2)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(variance / (n * m)), rel=0.2)


def test_the_same_generator_gives_the_same_interval_and_levels_nest():
    labels, scores = random_year(np.random.default_rng(0), n=10)
    runs = [bootstrap(tabled(scores), labels, 2021, np.random.default_rng(5), replicates=200) for _ in range(2)]
    assert runs[0] == runs[1]
    narrow = bootstrap(tabled(scores), labels, 2021, np.random.default_rng(5), replicates=200, level=0.5)
    assert runs[0].score.low < narrow.score.low < narrow.score.high < runs[0].score.high


@pytest.mark.parametrize("year", RULES)
def test_a_perfect_system_has_no_width(year):
    labels, _ = random_year(np.random.default_rng(0), n=5)
    perfect = tabled({key: float(anomaly) for key, anomaly in zip(labels.keys, labels.is_anomaly, strict=True)})
    interval = bootstrap(perfect, labels, year, np.random.default_rng(0), replicates=50).score
    assert (interval.value, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_paired_difference():
    labels, scores = random_year(np.random.default_rng(0), shift=0.7)
    noise = np.random.default_rng(9).normal(size=len(scores))
    worse = {key: score + 0.3 * extra for (key, score), extra in zip(scores.items(), noise, strict=True)}
    table, other = tabled(scores), tabled(worse)
    same = compare(table, table, labels, 2023, np.random.default_rng(1), replicates=100).score
    assert (same.value, same.low, same.high) == (0, 0, 0)
    paired = compare(table, other, labels, 2023, np.random.default_rng(1), replicates=500)
    assert paired.score.value == evaluate(table, labels, 2023).score - evaluate(other, labels, 2023).score
    alone = bootstrap(table, labels, 2023, np.random.default_rng(1), replicates=500)
    assert paired.score.high - paired.score.low < 0.6 * (alone.score.high - alone.score.low)
    swapped = compare(other, table, labels, 2023, np.random.default_rng(1), replicates=500)
    assert swapped.score.low == pytest.approx(-paired.score.high)
