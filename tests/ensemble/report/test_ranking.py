"""The ranking has the order of the cards and the outcome of each decision."""

import re
from dataclasses import replace

import numpy as np

from ensemble.page.cards import DETECTED, FALSE_ALARM, MISSED
from ensemble.page.items import items
from ensemble.page.scored import scored_of
from ensemble.report.ranking import ranking
from ensemble.run import Detection
from featstore.table import ClipTable


def test_the_ranking_shows_the_outcome_of_each_decision(detection: Detection) -> None:
    scored = scored_of(detection, title="t")
    text = ranking(scored, items(scored))
    anomaly = detection.clips.where(label="anomaly")
    for outcome, rows in (
        (FALSE_ALARM, ~anomaly & detection.decision),
        (MISSED, anomaly & ~detection.decision),
        (DETECTED, anomaly & detection.decision),
        ("normal", ~anomaly & ~detection.decision),
    ):
        cell = outcome.replace(" ", "\N{NO-BREAK SPACE}")
        assert text.count(f'<td class="text">{cell}</td>') == rows.sum() > 0
    unlabelled = [replace(clip, label="unknown") for clip in detection.clips]
    plain = replace(scored, clips=ClipTable.from_clips(unlabelled))
    assert ranking(plain, items(plain)).count('<td class="text">reported</td>') == detection.decision.sum()


def test_no_row_contradicts_the_one_before_it(detection: Detection) -> None:
    """Sections have thresholds of their own, so neither the score nor the percentile falls from row to row."""
    threshold = np.where(detection.clips.where(section="00"), 0.5, 0.9)
    scored = replace(scored_of(detection, title="t"), threshold=threshold)
    numbers = re.findall(r'<td class="number">([^<]*)</td>', ranking(scored, items(scored)))
    rows = np.array(numbers, dtype=float).reshape(-1, 3)
    assert (np.diff(rows[:, 0]) <= 0).all()
    assert (np.diff(rows[:, 1]) > 0).any()
    assert ((rows[:, 0] > 1) <= (rows[:, 1] > rows[:, 2])).all(), "above 1 only where the score is above the threshold"
