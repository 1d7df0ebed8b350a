"""Bootstrap replicates against the metrics of the drawn clips themselves."""

import numpy as np
import pytest

from detectors.metrics.auc import resamples
from detectors.metrics.labels import Labels
from detectors.metrics.official import RULES, evaluate, rule_of, strata
from detectors.metrics.replicates import replicates_of
from detectors.metrics.scores import ScoreTable


def plant(sections, n=4):
    section, target, anomaly, _ = (axis.ravel() for axis in np.indices((sections, 2, 2, n)))
    keys = tuple(map(str, range(len(section))))
    machine = np.array([f"m{number}" for number in section])
    return Labels(keys, machine, np.full(len(keys), "00"), np.where(target, "target", "source"), anomaly == 1)


def drawn_again(labels, counts):
    rows = np.repeat(np.arange(len(counts)), counts.astype(int))
    keys = tuple(map(str, range(len(rows))))
    columns = (labels.machine, labels.section, labels.domain, labels.is_anomaly)
    return Labels(keys, *(column[rows] for column in columns)), rows


@pytest.mark.parametrize("year", [2020, 2021, 2023])
def test_a_replicate_is_the_evaluation_of_the_clips_as_often_as_drawn(year):
    labels, rng = plant(1), np.random.default_rng(0)
    systems = [ScoreTable("x", labels.keys, np.round(rng.normal(size=len(labels.keys)), 1)) for _ in range(2)]
    result = replicates_of(systems, labels, year, 5, np.random.default_rng(7))
    counts = np.concatenate(list(resamples(strata(labels.domain, labels.is_anomaly), 5, np.random.default_rng(7))))
    for i, row in enumerate(counts):
        again, rows = drawn_again(labels, row)
        for system, table in enumerate(systems):
            expected = evaluate(ScoreTable("x", again.keys, table.scores[rows]), again, year)
            assert result.score[system, i] == pytest.approx(expected.score)
            got = dict(zip(rule_of(year).metrics, result.metrics[system, i, 0], strict=True))
            assert got == pytest.approx(dict(expected.rows[0].values))


def test_all_systems_get_the_same_draws_and_sections_different_ones():
    labels = plant(2)
    scores = np.tile(np.random.default_rng(1).normal(size=len(labels.keys) // 2), 2)
    tables = [ScoreTable("x", labels.keys, scores)] * 2
    result = replicates_of(tables, labels, 2023, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(result.metrics[0], result.metrics[1])
    assert not np.array_equal(result.metrics[0, :, 0], result.metrics[0, :, 1])
    assert result.metrics.shape == (2, 50, 2, len(RULES[2023].metrics))


def test_a_clip_without_a_score_is_named():
    labels = plant(1)
    with pytest.raises(ValueError, match="no score for '15'"):
        replicates_of([ScoreTable("x", labels.keys[:-1], np.zeros(15))], labels, 2023, 10, np.random.default_rng(0))
