"""Intervals of the official metrics against the theory, a brute-force bootstrap and simulated populations."""

from functools import partial

import numpy as np
import pytest

from detectors.metrics.influence import influences
from detectors.metrics.intervals import FEW, caution, compare, intervals
from detectors.metrics.labels import Labels
from detectors.metrics.official import RULES, evaluate
from detectors.metrics.scores import ScoreTable


def tabled(scores):
    return ScoreTable("random", tuple(scores), np.array(list(scores.values())))


def random_year(rng, n=40, shift=1.0, sections=(("fan", "00"), ("pump", "00")), apart=0.0):
    """Labels with `n` clips per section, domain and class, and scores whose anomalies lie `shift` higher.

    apart: how much higher clips of the target domain lie.
    """
    rows = [
        (machine, section, domain, is_anomaly, i)
        for machine, section in sections
        for domain in ("source", "target")
        for is_anomaly in (False, True)
        for i in range(n)
    ]
    machine, section, domain, is_anomaly, _ = (np.array(column) for column in zip(*rows, strict=True))
    keys = tuple("-".join(map(str, row)) for row in rows)
    scores = rng.normal(size=len(rows)) + shift * is_anomaly + apart * (domain == "target")
    return Labels(keys, machine, section, domain, is_anomaly), dict(zip(keys, scores, strict=True))


def redrawn(tables, labels, year, rng, times):
    """Official scores (times, tables) of clips drawn with replacement within machine, section, domain and label."""
    columns = (labels.machine, labels.section, labels.domain, labels.is_anomaly)
    groups = np.array(["|".join(map(str, row)) for row in zip(*columns, strict=True)])
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    keys, scores = tuple(map(str, range(len(groups)))), np.empty((times, len(tables)))
    for row in scores:
        rows = np.concatenate([rng.choice(clips, len(clips)) for clips in members])
        again = Labels(keys, *(column[rows] for column in columns))
        row[:] = [evaluate(ScoreTable("x", keys, table.scores[rows]), again, year).score for table in tables]
    return scores


def test_intervals_hold_the_point_and_have_the_right_width():
    labels, scores = random_year(np.random.default_rng(0))
    table = tabled(scores)
    result = intervals(table, labels, 2023)
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


UNEVEN = (("fan", "00"), ("pump", "00"), ("pump", "01"), ("pump", "02"))


@pytest.mark.parametrize("year", [2020, 2021, 2023])
def test_the_variance_is_that_of_clips_drawn_anew_within_domains(year):
    """The domains lie far apart, and under the rule of 2020 the only section of a machine counts three times."""
    rng = np.random.default_rng(year)
    labels, scores = random_year(rng, 25, shift=1.5, sections=UNEVEN, apart=2.0)
    table = tabled(scores)
    drawn = redrawn([table], labels, year, rng, 250).std()
    share = influences(table, labels, year).score.share
    assert share.variance**0.5 == pytest.approx(drawn, rel=0.12)
    result = intervals(table, labels, year).score
    assert 0.9 < (result.high - result.low) / (2 * 1.96 * drawn) < 1.8


def test_the_variance_of_a_difference_is_that_of_the_same_clips():
    rng = np.random.default_rng(3)
    labels, scores = random_year(rng, 25, shift=1.5, sections=UNEVEN, apart=2.0)
    table = tabled(scores)
    other = ScoreTable("other", labels.keys, table.scores + 0.4 * rng.normal(size=400))
    drawn = redrawn([table, other], labels, 2023, rng, 250)
    result = compare(table, other, labels, 2023).score
    assert result.high - result.low == pytest.approx(2 * 1.96 * (drawn[:, 0] - drawn[:, 1]).std(), rel=0.15)
    apart = np.hypot(*drawn.std(axis=0))
    assert result.high - result.low < 2 * 1.96 * apart * 0.7


@pytest.mark.parametrize("year", RULES)
def test_a_perfect_system_has_a_width(year):
    labels, _ = random_year(np.random.default_rng(0), n=5)
    perfect = tabled({key: float(anomaly) for key, anomaly in zip(labels.keys, labels.is_anomaly, strict=True)})
    result = intervals(perfect, labels, year)
    for interval in (result.score, *result.sections["fan", "00"].values()):
        assert interval.value == pytest.approx(1) == interval.high
        assert 0 < interval.low < 0.97


def test_the_worst_system_has_an_interval():
    labels, _ = random_year(np.random.default_rng(0), n=5)
    worst = tabled({key: -float(anomaly) for key, anomaly in zip(labels.keys, labels.is_anomaly, strict=True)})
    result = intervals(worst, labels, 2023)
    assert result.score.low <= result.score.value < 1e-12
    assert 0.05 < result.score.high < 0.6


def test_levels_nest():
    labels, scores = random_year(np.random.default_rng(0), n=10)
    table, other = tabled(scores), tabled({key: score**3 + np.sin(9 * score) for key, score in scores.items()})
    for call in (partial(intervals, table), partial(compare, table, other)):
        wide, narrow = (call(labels, 2021, level=level) for level in (0.95, 0.5))
        section, inside = (found.sections["fan", "00"]["auc_source"] for found in (wide, narrow))
        for outer, inner in ((wide.score, narrow.score), (section, inside)):
            assert outer.low < inner.low < inner.high < outer.high
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        intervals(table, labels, 2021, level=95)


def test_paired_difference():
    labels, scores = random_year(np.random.default_rng(0), shift=0.7)
    noise = np.random.default_rng(9).normal(size=len(scores))
    worse = {key: score + 0.3 * extra for (key, score), extra in zip(scores.items(), noise, strict=True)}
    table, other = tabled(scores), tabled(worse)
    same = compare(table, table, labels, 2023).score
    assert (same.value, same.low, same.high) == (0, 0, 0)
    paired, swapped = compare(table, other, labels, 2023), compare(other, table, labels, 2023)
    assert paired.score.value == evaluate(table, labels, 2023).score - evaluate(other, labels, 2023).score
    assert swapped.score.low == pytest.approx(-paired.score.high)
    alone = intervals(table, labels, 2023)
    assert paired.score.high - paired.score.low < 0.6 * (alone.score.high - alone.score.low)


def test_two_perfect_systems_may_differ():
    labels, scores = random_year(np.random.default_rng(0), n=5, shift=100)
    other = {key: score**3 + np.sin(score) for key, score in scores.items()}
    result = compare(tabled(scores), tabled(other), labels, 2023)
    for interval in (result.score, result.sections["fan", "00"]["auc"]):
        assert interval.value == 0
        assert interval.low < -0.03
        assert interval.high > 0.03


@pytest.mark.parametrize(("clips", "level"), [(3, 0.9), (13, 0.98)])
def test_simulated_coverage(clips, level):
    """Of 150 test sets, as in scripts/bench_intervals.py; percentile intervals cover less than 0.85 of both."""
    rng = np.random.default_rng(clips)
    shift = {0.9: 1.812, 0.98: 2.904}[level]
    hits = 0
    for _ in range(150):
        labels, scores = random_year(rng, clips, shift, sections=(("fan", "00"),))
        interval = intervals(tabled(scores), labels, 2023).sections["fan", "00"]["auc"]
        hits += interval.low <= level <= interval.high
    assert hits >= 0.93 * 150


def test_few_clips_are_noted_once():
    labels, scores = random_year(np.random.default_rng(0), n=FEW)
    assert caution(evaluate(tabled(scores), labels, 2023)) == ()
    labels, scores = random_year(np.random.default_rng(0), n=FEW - 1)
    (note,) = caution(evaluate(tabled(scores), labels, 2023))
    assert note.startswith("fan section 00 has 4 anomalous test clips of the source domain: with fewer than 5 ")


def test_a_machine_with_one_section_counts_as_much_as_one_with_three_in_2020():
    labels, scores = random_year(np.random.default_rng(0), 10, sections=UNEVEN)
    of = influences(tabled(scores), labels, 2020)
    for section, weight in (("fan", "00"), 1 / 4), (("pump", "01"), 1 / 12):
        rows = (labels.machine == section[0]) & (labels.section == section[1])
        expected = weight * sum(influence.by_clip for influence in of.sections[section].values())
        np.testing.assert_allclose(of.score.by_clip[rows], expected, atol=1e-15)


@pytest.mark.parametrize("year", [2020, 2023])
def test_the_mean_of_one_section_is_that_section(year):
    labels, scores = random_year(np.random.default_rng(8), 20, sections=(("fan", "00"),))
    of = influences(tabled(scores), labels, year)
    result = intervals(tabled(scores), labels, year)
    for name, influence in of.sections["fan", "00"].items():
        np.testing.assert_allclose(of.means[name].by_clip, influence.by_clip, atol=1e-12)
        assert result.means[name].value == pytest.approx(result.sections["fan", "00"][name].value)


def test_the_mean_of_sections_is_less_uncertain_than_each():
    labels, scores = random_year(np.random.default_rng(9), 20, sections=UNEVEN)
    table = tabled(scores)
    result, evaluation = intervals(table, labels, 2023), evaluate(table, labels, 2023)
    for name, mean in result.means.items():
        assert mean.value == evaluation.mean(name)
        widths = [section[name].high - section[name].low for section in result.sections.values()]
        assert mean.high - mean.low < min(widths)
    same = compare(table, table, labels, 2023)
    assert {(mean.value, mean.low, mean.high) for mean in same.means.values()} == {(0.0, 0.0, 0.0)}


def test_the_difference_of_means_over_one_section_is_that_of_the_section():
    labels, scores = random_year(np.random.default_rng(10), 20, sections=(("fan", "00"),))
    other = random_year(np.random.default_rng(11), 20, sections=(("fan", "00"),))[1]
    result = compare(tabled(scores), tabled(other), labels, 2023)
    for name, lead in result.sections["fan", "00"].items():
        mean = result.means[name]
        assert (mean.value, mean.low, mean.high) == pytest.approx((lead.value, lead.low, lead.high))
