"""Scores of candidates: computed once, in any number of processes, on all clips or a part of them."""

from pathlib import Path

import numpy as np
from selection_store import members_of

from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.score_candidates import score_candidates
from ensemble.selection.scoring.validation import Validation
from featstore.store import FeatureStore


def test_scores_are_computed_once_and_then_read(store: FeatureStore, plan: Validation, tmp_path: Path) -> None:
    cache, members = ScoreCache(tmp_path), members_of(store)
    first = score_candidates(store, members, plan, cache, workers=0)
    assert first.computed == len(members) == len(list(tmp_path.glob("*.npz")))
    files = sorted(tmp_path.glob("*.npz"))
    files[0].unlink()  # as after an interruption
    files[1].write_bytes(files[1].read_bytes()[:50])  # and a damaged one
    again = score_candidates(store, members, plan, cache, workers=0)
    assert again.computed == 2
    np.testing.assert_array_equal(first.scores, again.scores)
    assert score_candidates(store, members[:3], plan, cache, workers=0).computed == 0


def test_two_processes_give_what_one_gives(store: FeatureStore, plan: Validation, tmp_path: Path) -> None:
    members = [member for member in members_of(store) if member.detector.startswith("knn")]
    one, two = (
        score_candidates(store, members, plan, ScoreCache(tmp_path / str(workers)), workers=workers).scores
        for workers in (0, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_scores_of_a_part_are_kept_and_completed(store: FeatureStore, plan: Validation, tmp_path: Path) -> None:
    cache, members = ScoreCache(tmp_path / "parts"), members_of(store)
    part = plan.fold == 0
    first = score_candidates(store, members, plan, cache, part=part, workers=0)
    assert np.isfinite(first.scores[:, part]).all()
    assert np.isnan(first.scores[:, ~part]).all()
    again = score_candidates(store, members, plan, cache, part=part, workers=0)
    assert again.computed == 0
    whole = score_candidates(store, members[:4], plan, cache, workers=0)
    assert whole.computed == 4
    alone = score_candidates(store, members[:4], plan, ScoreCache(tmp_path / "whole"), workers=0)
    np.testing.assert_array_equal(whole.scores, alone.scores)
    mixed = score_candidates(store, members, plan, cache, part=part, workers=0)
    assert np.isfinite(mixed.scores[:4]).all(), "those that are known whole stay whole"


def test_cached_scores_of_another_number_of_clips_are_computed_again(
    store: FeatureStore, plan: Validation, tmp_path: Path
) -> None:
    cache, members = ScoreCache(tmp_path), members_of(store)[:2]
    right = score_candidates(store, members, plan, cache, workers=0)
    for file in tmp_path.glob("*.npz"):
        cache.put(file.stem, np.zeros(5))
    again = score_candidates(store, members, plan, cache, workers=0)
    assert again.computed == 2
    np.testing.assert_array_equal(again.scores, right.scores)
