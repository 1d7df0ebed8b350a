"""Rows of a submission for test clips without a score."""

import numpy as np
import pytest

from detectors.metrics.scores import ScoreTable
from ensemble.checks.unscored import Place, Unscored
from ensemble.submission.fill import filled
from featstore.clip import Clip
from featstore.errors import IncompleteError
from featstore.table import ClipTable


def test_the_highest_score_is_that_of_the_section_and_of_all_where_it_has_none() -> None:
    clips = ClipTable.from_clips([Clip(f"{section}.wav", "fan", section, "test") for section in ("00", "01", "02")])
    scores = ScoreTable("s", tuple(clips.keys()), np.array([1.0, 9.0, 3.0]))
    missing = [Unscored(f"{section}x.wav", Place("fan", section, "test"), "rejected") for section in ("00", "07")]
    table, every, decision = filled(clips, scores, np.zeros(3, dtype=bool), missing)
    assert table.keys() == ["00.wav", "01.wav", "02.wav", "00x.wav", "07x.wav"]
    assert every.scores.tolist() == [1, 9, 3, 1, 9]
    assert decision.tolist() == [False] * 3 + [True] * 2
    with pytest.raises(IncompleteError, match="its machine and section are unknown"):
        filled(clips, scores, np.zeros(3, dtype=bool), [Unscored("a.wav", Place(), "rejected")])
