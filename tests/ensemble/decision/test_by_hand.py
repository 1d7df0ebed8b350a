"""Rows of rates and drifts after a threshold by hand: those that a run with these decisions would make."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.decision.banks import Bank
from ensemble.decision.by_hand import drift_again, rate_again
from ensemble.decision.conformal import Decisions
from ensemble.decision.drift import drift
from ensemble.decision.false_alarms import exact_interval
from ensemble.decision.thresholds import given_threshold
from featstore.clip import Clip
from featstore.table import ClipTable


def decided(scores: np.ndarray, reference: np.ndarray, value: float) -> Decisions:
    n = len(scores)
    bank = Bank("fan", "00", "", np.arange(n), reference, float(len(reference)))
    limit = given_threshold(value, reference)
    nothing = np.zeros(n)
    return Decisions(
        nothing, nothing, np.full(n, value), scores > value, (bank,), (limit,), (), 0.1, 0.0, self_ranked=False
    )


@pytest.mark.parametrize("recordings", [60, 20])
def test_a_drift_is_that_of_the_new_decisions(rng: np.random.Generator, recordings: int) -> None:
    scores, reference = rng.normal(1.0, 1, 60), rng.normal(size=100)
    recording = np.arange(60) % recordings
    rows = {}
    for value in (3.0, -0.5):
        decisions = decided(scores, reference, value)
        (found,) = drift(scores, decisions, recording=recording)
        rows[value] = {**vars(found), "warning": found.warning}
    assert rows[3.0]["at_least"] == 0 < rows[-0.5]["at_least"]
    limit = given_threshold(-0.5, reference)
    assert drift_again(rows[3.0], scores > -0.5, limit.expected) == rows[-0.5]
    assert drift_again(rows[-0.5], scores > 3.0, given_threshold(3.0, reference).expected) == rows[3.0]


def test_a_rate_counts_normal_clips_of_changed_sections_only() -> None:
    plain = Clip("a", "fan", "00", "test", "source", "normal")
    changes = [{}, {}, {"label": "anomaly"}, {"domain": "target"}, {"section": "01"}]
    clips = ClipTable.from_clips([replace(plain, path=str(i), **change) for i, change in enumerate(changes)])  # type: ignore[arg-type]
    row = {"machine": "fan", "section": "00", "domain": "source", "clips": 2, "reported": 0, "nominal": 0.1}
    row |= {"low": 0.0, "high": 1.0, "rate": 0.0}
    reported = np.array([True, False, True, True, True])
    low, high = exact_interval(1, 2)
    again = {"reported": 1, "nominal": None, "low": low, "high": high, "rate": 0.5}
    assert rate_again(row, clips, reported, np.array([True, True, True, True, False])) == {**row, **again}
    assert rate_again(row, clips, reported, np.array([False, False, True, True, True])) is row
