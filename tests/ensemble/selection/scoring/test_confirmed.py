"""Labelled recordings in a validation: what they are scored by, what they change, and what they leave alone."""

from pathlib import Path

import numpy as np
import pytest
from selection_store import labelled, members_of, recordings, selection_store, variants
from window_store import windows

from detectors import create
from ensemble.selection.choose import Problem, positions
from ensemble.selection.faults import with_confirmed
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.confirmed import (
    ENOUGH_FAULTS,
    PRIOR_FAULTS,
    confirmed_faults,
    confirmed_part,
    confirmed_share,
    joined,
)
from ensemble.selection.scoring.held_out import folds_of, held_out_scores
from ensemble.selection.scoring.score_candidates import score_candidates
from ensemble.selection.scoring.validation import CONFIRMED, NORMAL, Validation, plan_validation
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable, encode

FAULTS = {clip.path: clip.label == "anomaly" for clip in labelled(6)}
TRAINING = recordings()[0].path


def part_of(store: FeatureStore, plan: Validation, faults: dict[str, bool]) -> Validation:
    return confirmed_part(plan, store.clips("emb"), store.facts("emb"), faults)


def last(part: Validation) -> np.ndarray:
    return np.arange(len(part)) >= len(part) - part.confirmed


def test_a_labelled_clip_is_scored_by_the_training_clips_of_the_other_folds(
    store: FeatureStore, plan: Validation
) -> None:
    part, X = part_of(store, plan, FAULTS), store.matrix("emb")[:, 0]
    assert part.confirmed == len(FAULTS)
    assert set(part.keys[-part.confirmed :]) == set(FAULTS)
    scores = held_out_scores("knn:k=1", X[part.rows], part)
    clips, place = store.clips("emb"), {key: i for i, key in enumerate(plan.keys)}
    for at in np.flatnonzero(last(part)).tolist():
        here = clips[int(part.rows[at])]
        bank = [
            plan.rows[place[key]]
            for key in plan.keys
            if plan.normal[place[key]]
            and key.split("/")[-1][:2] == here.path.split("/")[-1][:2]
            and plan.fold[place[key]] != part.fold[at]
        ]
        expected = create("knn:k=1").fit(X[bank]).anomaly_score(X[part.rows[at]][None])
        np.testing.assert_allclose(scores[at], expected[0])


def test_labelled_clips_are_in_no_bank_and_in_no_reference(store: FeatureStore, plan: Validation) -> None:
    part = part_of(store, plan, FAULTS)
    assert not any(last(part)[fold.bank].any() for fold in folds_of(part))
    scores = np.random.default_rng(0).normal(size=(2, len(part)))
    moved = scores.copy()
    moved[:, last(part)] += 100
    training = ~last(part)
    np.testing.assert_array_equal(positions(scores, part)[:, training], positions(moved, part)[:, training])
    assert positions(moved, part)[:, last(part)].min() > 0.9


def test_the_scores_of_the_anomalies_stay_in_the_cache(store: FeatureStore, plan: Validation, tmp_path: Path) -> None:
    cache, members = ScoreCache(tmp_path), members_of(store)[:3]
    scored = score_candidates(store, members, plan, cache, workers=0)
    assert scored.computed == 3
    few = dict(list(FAULTS.items())[:4])
    validation, both, part = with_confirmed(store, "emb", plan, scored, cache, few, 0)
    np.testing.assert_array_equal(both.scores[:, : len(plan)], scored.scores)
    assert validation.keys[: len(plan)] == plan.keys
    assert validation.keys[len(plan) :] == part.keys[-part.confirmed :] == tuple(sorted(few))
    assert score_candidates(store, members, plan, cache, workers=0).computed == 0
    more, all_scores, _ = with_confirmed(store, "emb", plan, scored, cache, FAULTS, 0)
    of = {key: all_scores.scores[:, i] for i, key in enumerate(more.keys)}
    for i, key in enumerate(validation.keys):
        np.testing.assert_array_equal(both.scores[:, i], of[key])  # a fold does not change when labels are added


def test_halves_share_the_faults_and_keep_the_other_clips(store: FeatureStore, plan: Validation) -> None:
    whole = joined(plan, part_of(store, plan, FAULTS))
    fault = ~whole.normal & last(whole)
    assert abs(int((fault & whole.half(0)).sum()) - int((fault & whole.half(1)).sum())) <= 1
    np.testing.assert_array_equal(whole.half(0)[: len(plan)], plan.half(0))
    assert (whole.half(0) ^ whole.half(1)).all()
    assert [whole.pairs[i].name for i in np.unique(whole.pair[fault])] == ["confirmed faults"]
    normal = whole.pair[last(whole)] == NORMAL
    assert normal.sum() == sum(not is_fault for is_fault in FAULTS.values())


def test_a_copy_of_a_training_clip_has_its_fold_and_half(store: FeatureStore, plan: Validation) -> None:
    facts = dict(store.facts("emb"))
    hashes = [text.decode() for text in facts["content_hash"].tolist()]
    keys = store.clips("emb").keys()
    copy = next(iter(FAULTS))
    original = next(
        key for key, at in zip(plan.keys, plan.half(1).tolist(), strict=True) if at and key in keys and "#" not in key
    )
    hashes[keys.index(copy)] = hashes[keys.index(original)]
    facts["content_hash"] = encode(hashes)
    part = confirmed_part(plan, store.clips("emb"), facts, {copy: True})
    at, of = part.keys.index(copy), plan.keys.index(original)
    assert part.fold[at] == plan.fold[of]
    assert part.source[at] == plan.source[of]
    assert part.half(1)[at]


def test_the_weight_grows_with_the_number_of_faults(store: FeatureStore, plan: Validation) -> None:
    whole = joined(plan, part_of(store, plan, FAULTS))
    count = confirmed_faults(whole)
    assert count == 6
    assert confirmed_share(whole, generated=True) == count / (count + PRIOR_FAULTS)
    assert confirmed_share(whole, generated=False) == 0
    many = part_of(store, plan, {clip.path: True for clip in labelled(16)})
    assert confirmed_faults(many) >= ENOUGH_FAULTS
    assert confirmed_share(many, generated=False) == 1
    scores = np.random.default_rng(0).normal(size=(6, len(whole)))
    scores[:, ~whole.normal] += np.arange(6)[:, None] / 2
    weights = Problem(whole, scores).pair_weights
    assert weights.sum() == pytest.approx(1)
    assert weights[whole.pairs.index(CONFIRMED)] == pytest.approx(count / (count + PRIOR_FAULTS))


def test_confirmed_faults_are_never_hidden_and_scored_by_the_other_half(store: FeatureStore, plan: Validation) -> None:
    whole = joined(plan, part_of(store, plan, FAULTS))
    scores = np.random.default_rng(0).normal(size=(6, len(whole)))
    scores[:, ~whole.normal] += np.arange(6)[:, None] / 2
    problem = Problem(whole, scores)
    at = whole.pairs.index(CONFIRMED)
    assert all(evidence.pair_weights[at] > 0 for split in problem.splits for evidence in split.evidence)
    assert [split.scored[at] for split in problem.splits].count(True) == 1
    assert np.sum([split.scored for split in problem.splits], axis=0).max() == 1


def test_a_training_clip_confirmed_as_fault_leaves_the_banks(store: FeatureStore, plan: Validation) -> None:
    clips, facts = store.clips("emb"), store.facts("emb")
    without = plan_validation(clips, facts, faults={TRAINING: True})
    assert not [key for key in without.keys if key.startswith(TRAINING)]  # nor what was generated from it
    part = confirmed_part(without, clips, facts, {TRAINING: True})
    assert part.keys[-1] == TRAINING
    assert not part.normal[-1]
    same = plan_validation(clips, facts, faults={TRAINING: False})
    assert same.keys == plan.keys
    assert confirmed_part(same, clips, facts, {TRAINING: False}).confirmed == 0


def test_a_section_with_faults_needs_no_generated_anomalies(tmp_path: Path) -> None:
    clips = [*recordings(), *labelled(6)]
    store = selection_store(tmp_path / "store", clips)
    table, facts = store.clips("emb"), store.facts("emb")
    with pytest.raises(DataError, match="--anomalies auto"):
        plan_validation(table, facts)
    of_first = {key: fault for key, fault in FAULTS.items() if "/s0_" in key}
    assert plan_validation(table, facts, faults=of_first).sections == (("fan", "00"),)


def test_labels_of_the_store_are_not_read(store: FeatureStore, plan: Validation) -> None:
    clips = store.clips("emb")
    other = np.where(clips.where(split="test"), b"unknown", clips.columns["label"])
    masked = confirmed_part(plan, ClipTable({**clips.columns, "label": other}), store.facts("emb"), FAULTS)
    part = part_of(store, plan, FAULTS)
    assert masked.keys == part.keys
    np.testing.assert_array_equal(masked.pair, part.pair)


@pytest.mark.parametrize("hashed", [True, False])
def test_labelled_windows_are_in_the_fold_and_the_block_of_their_recording(hashed: bool) -> None:
    base = [window for clip in recordings(6, 2) for window in windows(clip, 3)]
    tests = [window for clip in labelled(4) for window in windows(clip, 2)]
    clips = ClipTable.from_clips([*base, *variants(base), *tests])
    contents = [f"hash of {path}" if hashed else "" for path in clips.recordings()]
    facts = {"content_hash": encode(contents), "outcome": encode("" for _ in clips)}
    faults = {base[0].key: True, **{clip.key: clip.label == "anomaly" for clip in tests}}
    plan = plan_validation(clips, facts, faults=faults)
    assert base[0].key not in plan.keys, "a fault is no training clip"
    together = joined(plan, confirmed_part(plan, clips, facts, faults))
    assert together.block is not None
    assert len(together.block) == len(together)
    names = np.array([key.partition("#")[0] for key in together.keys])
    for of in (together.source, together.fold, together.block, together.half(0)):
        assert all(len(set(of[names == name].tolist())) == 1 for name in names)
    placed = positions(np.random.default_rng(0).normal(size=(2, len(together))), together)
    assert ((placed > 0) & (placed < 1)).all()
