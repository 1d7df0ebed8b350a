"""Tests of differences within a comparison, its order, and the notes on what cannot be tested."""

import json

import numpy as np
import pytest

from detectors.metrics.intervals import intervals
from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from detectors.metrics.replicates import replicates_of
from detectors.metrics.scores import ScoreTable
from detectors.metrics.significance import holm, p_value
from ensemble.compare.comparison import compared
from ensemble.compare.files import comparison_csv, comparison_json
from ensemble.compare.text import comparison_text


def labels_of(clips, sections=1):
    section, target, anomaly, _ = (axis.ravel() for axis in np.indices((sections, 2, 2, clips)))
    keys = tuple(map(str, range(len(section))))
    names = np.array([f"{number:02d}" for number in section])
    return Labels(keys, np.full(len(keys), "fan"), names, np.where(target, "target", "source"), anomaly == 1)


def systems_of(labels, *quality, seed=0):
    rng = np.random.default_rng(seed)
    scores = [value * labels.is_anomaly + rng.normal(size=len(labels.keys)) for value in quality]
    return {f"q{value}": ScoreTable("x", labels.keys, row) for value, row in zip(quality, scores, strict=True)}


def test_the_rows_hold_the_metrics_and_tests_of_the_library():
    labels = labels_of(12, sections=2)
    tables = systems_of(labels, 1.0, 3.0, 0.5, 1.1)
    result = compared(tables, labels, 2023, baseline="q1.0", replicates=300, seed=5)
    scores = {name: evaluate(table, labels, 2023).score for name, table in tables.items()}
    assert [row.name for row in result.rows] == sorted(tables, key=lambda name: -scores[name])
    drawn = dict(
        zip(
            tables, replicates_of(list(tables.values()), labels, 2023, 300, np.random.default_rng(5)).score, strict=True
        )
    )
    others = ["q3.0", "q0.5", "q1.1"]
    p = [p_value(scores[name] - scores["q1.0"], drawn[name] - drawn["q1.0"]) for name in others]
    adjusted = dict(zip(others, holm(np.array(p)), strict=True))
    for row in result.rows:
        assert row.limits == intervals(tables[row.name], labels, 2023)
        if row.name == "q1.0":
            assert (row.difference, row.test) == (None, None)
            continue
        assert row.difference == pytest.approx(scores[row.name] - scores["q1.0"])
        assert row.test.p == p[others.index(row.name)]
        assert row.test.p_holm == pytest.approx(adjusted[row.name])
        assert row.test.low <= row.difference <= row.test.high
        assert row.test.significant or row.name != "q3.0"
    assert result.clips == 96


def test_the_other_baseline_gives_the_opposite_difference():
    labels = labels_of(10)
    tables = systems_of(labels, 0.5, 2.0)
    first, second = (compared(tables, labels, 2023, baseline=name, replicates=200) for name in tables)
    one = next(row for row in first.rows if row.test)
    other = next(row for row in second.rows if row.test)
    assert one.difference == -other.difference
    assert (one.test.low, one.test.high, one.test.p) == pytest.approx((-other.test.high, -other.test.low, other.test.p))


def test_a_system_does_not_differ_from_itself():
    labels = labels_of(6)
    table = next(iter(systems_of(labels, 1.0).values()))
    result = compared({"a": table, "b": table}, labels, 2023, baseline="a", replicates=100)
    row = next(row for row in result.rows if row.name == "b")
    assert (row.difference, row.test.low, row.test.high, row.test.p, row.test.p_holm) == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_a_single_clip_of_a_kind_is_not_tested():
    labels = labels_of(1)
    result = compared(systems_of(labels, 1.0, 2.0), labels, 2023, baseline="q1.0", replicates=100)
    assert all(row.test is None for row in result.rows)
    assert any(
        note.startswith("differences are not tested: fan section 00 has 1 source anomaly") for note in result.notes
    )
    row = next(line for line in comparison_csv(result).splitlines() if line.startswith("q2.0"))
    assert ",,,," in row
    system = next(each for each in comparison_json(result)["systems"] if each["name"] == "q2.0")
    assert system["difference"]["p"] is None
    assert json.dumps(comparison_json(result), allow_nan=False)


def test_too_few_replicates_are_said():
    labels = labels_of(4)
    tables = systems_of(labels, *(0.1 * i for i in range(8)))
    few = compared(tables, labels, 2023, baseline="q0.0", replicates=100)
    assert "with 100 replicates and 7 comparisons no difference can be significant; raise --replicates" in few.notes
    assert not any(row.test and row.test.significant for row in few.rows)
    enough = compared(tables, labels, 2023, baseline="q0.0", replicates=139)
    assert not any("raise --replicates" in note for note in enough.notes)


def test_the_text_marks_the_highest_of_each_section():
    labels = labels_of(8, sections=2)
    text = comparison_text(compared(systems_of(labels, 0.0, 4.0), labels, 2023, baseline="q0.0", replicates=100))
    assert text.count("*") == 3, "one in the line above, one of each section"
    assert "difference: to q0.0, on the same clips; p (Holm): corrected for 1 comparison, at most 0.05 in 1" in text
    assert "baseline" in next(line for line in text.splitlines() if line.startswith("q0.0"))


def test_more_sections_than_systems_are_the_rows():
    labels = labels_of(4, sections=3)
    text = comparison_text(compared(systems_of(labels, 0.0, 1.0), labels, 2023, baseline="q0.0", replicates=100))
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("fan")] == [
        ["fan", "00"],
        ["fan", "01"],
        ["fan", "02"],
    ]


def test_a_metric_of_zero_is_said():
    labels = labels_of(4)
    upside_down = ScoreTable("x", labels.keys, -1.0 * labels.is_anomaly)
    tables = {"down": upside_down, **systems_of(labels, 2.0)}
    notes = compared(tables, labels, 2023, baseline="q2.0", replicates=100).notes
    assert "a metric of a section is 0, so the official score is near 0: down" in notes
