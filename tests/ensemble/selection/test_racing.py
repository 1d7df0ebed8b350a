"""The race: candidates that surely fall behind on the first fold are not scored on the others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selection_store import members_of

from ensemble.recipe import Member
from ensemble.selection import racing
from ensemble.selection import select as selecting
from ensemble.selection.choose import Evidence
from ensemble.selection.quality import Evaluator
from ensemble.selection.racing import part_metrics, race, survivors
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.score_candidates import Scored
from ensemble.selection.scoring.validation import Validation
from ensemble.selection.select import Options, select
from featstore.store import FeatureStore

FAST = Options(replicates=40, workers=0)


def simulated(plan: Validation, shifts: list[float]) -> np.ndarray:
    """Scores of candidates that see the anomalies so well."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(len(shifts), len(plan))) + np.outer(shifts, ~plan.normal)


def raced(scores: np.ndarray, plan: Validation, rule: str) -> np.ndarray:
    part = plan.fold == 0
    return survivors(scores, part_metrics(scores, plan, part), plan, part, rule, 0)


def test_those_that_surely_fall_behind_are_dropped(plan: Validation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "KEEP", 4)
    shifts = [5.0] * 5 + [0.0] * 12
    kept = raced(simulated(plan, shifts), plan, "agreement")
    assert kept[:5].all(), "the fifth may be among the best four"
    assert not kept[5:].any()
    few = raced(simulated(plan, shifts[:4]), plan, "agreement")
    assert few.all(), "no more than are kept anyway"


def test_no_more_are_dropped_than_the_stated_risk(plan: Validation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of candidates that are all equally good, nearly every one is among the best in some resamples."""
    monkeypatch.setattr(racing, "KEEP", 8)
    kept = raced(simulated(plan, [1.0] * 24), plan, "average")
    assert kept.mean() > 0.8


def test_named_candidates_and_failures_are_kept_and_the_others_known(
    plan: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "KEEP", 2)
    members = [Member("emb", f"knn:k={i + 1}") for i in range(9)]
    scores = simulated(plan, [5.0, 5.0, *[0.0] * 6])
    scores[3], scores[4] = scores[2], scores[7]  # places every clip like a dropped one, like a kept one
    asked = []

    def score(some: list[Member], *, part: np.ndarray, progress: object) -> Scored:
        asked.append(part)
        return Scored(some[:8], np.where(part, scores, np.nan), failed={some[8].name: "why"})

    result = race(
        score, members, plan, always=[members[7].name], rule="agreement", seed=0, progress=lambda done, total: None
    )
    assert [member.name for member in result.kept] == [members[i].name for i in (0, 1, 7, 8)]
    assert [len(metrics) for metrics in result.dropped] == [3, 3, 3]
    assert result.notes[0].startswith("5 of 9 candidates were left out after the first fold")
    np.testing.assert_array_equal(asked[0], plan.fold == 0)


def test_a_raced_selection_chooses_what_the_whole_one_chooses(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "RACE_FROM", 0)
    monkeypatch.setattr(racing, "KEEP", 5)
    whole = select(
        store, members_of(store), ScoreCache(tmp_path / "whole"), Options(replicates=40, workers=0, race=False)
    )
    raced = select(store, members_of(store), ScoreCache(tmp_path / "raced"), FAST)
    assert any("were left out after the first fold" in text for text in raced.notes)
    assert raced.raced_out
    assert f"{raced.raced_out} of " in raced.notes[0]
    assert whole.raced_out is None
    assert len(raced.candidates) < len(whole.candidates)
    assert raced.recipe.members[0].view == whole.recipe.members[0].view == "good"
    best = {candidate.member.name for candidate in whole.candidates[:3]}
    assert best <= {candidate.member.name for candidate in raced.candidates}


def test_blocks_are_not_raced(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fold may be a single block, whose halves cannot both have clips."""
    monkeypatch.setattr(selecting, "RACE_FROM", 0)
    monkeypatch.setattr(racing, "KEEP", 5)
    grouped = select(store, members_of(store), ScoreCache(tmp_path), replace(FAST, group="recording"))
    assert not any("after the first fold" in text for text in grouped.notes)
    assert grouped.recipe.group == "recording"


def test_those_dropped_count_in_the_ranks_of_the_others(plan: Validation) -> None:
    """Of two candidates that each win one pair, the one is better that is never behind a third."""

    def metrics(*pairs: tuple[float, float]) -> np.ndarray:
        return np.repeat(np.array(pairs)[:, None, :, None], 3, axis=3)

    two, third = metrics((0.9, 0.5), (0.8, 0.6)), metrics((0.7, 0.55))
    evaluator, weights = Evaluator(plan), np.array([0.5, 0.5])
    assert Evidence(evaluator, two, weights).order.tolist() == [0, 1]
    assert Evidence(evaluator, two, weights, third).order.tolist() == [1, 0]
