"""Domains in a selection: honest posteriors of normal clips and anomalies, positions without the offset."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_store import make_store
from selection_store import DIM, VIEWS, labelled, members_of, recordings, variants

from ensemble.selection.choose import positions
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.confirmed import confirmed_part, joined
from ensemble.selection.scoring.domains import corrected_positions, validation_posterior, with_labelled
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.scoring.score_candidates import score_candidates
from ensemble.selection.scoring.validation import Validation, plan_validation
from ensemble.selection.select import Options, select
from featstore.store import EmbeddingInfo, FeatureStore, ShardData
from featstore.table import ClipTable, encode

FAULTS = {clip.path: clip.label == "anomaly" for clip in labelled()}


def shifted_store(root: Path) -> FeatureStore:
    """As selection_store, with target clips far away in every view."""
    clips = [*recordings(40, 8), *variants(recordings(40, 8)), *labelled()]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(clips), len(VIEWS), DIM)).astype(np.float32)
    for row, clip in zip(X, clips, strict=True):
        row[:] *= 2.0 if clip.domain == "target" else 1.0
        row[:, 0] += 6.0 * (clip.domain == "target")
        row[0, 1:4] += 3.0 * (clip.label == "anomaly")
    info = EmbeddingInfo("emb", (len(VIEWS), DIM), "float32", "f" * 64, views=VIEWS, sample_rate_hz=16000)
    facts = {"content_hash": encode([f"hash of {clip.path}" for clip in clips])}
    return make_store(root, ShardData(info, ClipTable.from_clips(clips), X, facts, []))


def planned(store: FeatureStore) -> Validation:
    return plan_validation(store.clips("emb"), store.facts("emb"))


def test_normal_clips_and_anomalies_sound_like_their_domain(tmp_path: Path) -> None:
    store = shifted_store(tmp_path / "s")
    plan = planned(store)
    posterior = validation_posterior(store, ["emb"], plan)
    assert posterior is not None
    target = plan.domain == "target"
    assert ((posterior.probability > 0.5) == target)[plan.normal].mean() > 0.95
    assert ((posterior.probability > 0.5) == target)[~plan.normal].mean() > 0.9
    assert posterior.reliability > 0.9


def test_perturbed_clips_have_a_posterior_of_their_own(tmp_path: Path) -> None:
    store = shifted_store(tmp_path / "s")
    plan = plan_validation(store.clips("emb"), store.facts("emb"), perturbed=PerturbDesign(per_pair=4))
    posterior = validation_posterior(store, ["emb"], plan)
    assert posterior is not None
    assert len(posterior.probability) == len(plan) > plan.stored
    assert np.isfinite(posterior.probability).all()


def test_without_target_clips_there_is_none(tmp_path: Path) -> None:
    clips = recordings(20, 0)
    store = shifted_store(tmp_path / "s")
    sourced = replace(planned(store), domain=np.full(len(planned(store)), "source"))
    assert validation_posterior(store, ["emb"], sourced) is None
    assert all(clip.domain == "source" for clip in clips)


def test_the_offset_of_target_clips_goes_and_positions_stay_in_range(tmp_path: Path) -> None:
    store = shifted_store(tmp_path / "s")
    plan = planned(store)
    scored = score_candidates(store, members_of(store), plan, ScoreCache(tmp_path / "cache"), workers=1)
    placed = positions(scored.scores, plan)
    posterior = validation_posterior(store, ["emb"], plan)
    assert posterior is not None
    changed = corrected_positions(placed, posterior)
    assert changed.min() > 0
    assert changed.max() < 1
    target = plan.normal & (plan.domain == "target")
    source = plan.normal & (plan.domain == "source")

    def gap(rows: np.ndarray) -> np.ndarray:
        return np.median(rows[:, target], axis=1) - np.median(rows[:, source], axis=1)

    assert np.abs(gap(placed)).mean() > 0.25
    assert np.abs(gap(changed)).mean() < np.abs(gap(placed)).mean() * 0.7


def test_the_clips_of_a_fold_do_not_decide_on_their_own_offset(tmp_path: Path) -> None:
    store = shifted_store(tmp_path / "s")
    plan = planned(store)
    posterior = validation_posterior(store, ["emb"], plan)
    assert posterior is not None
    placed = np.random.default_rng(1).uniform(size=(1, len(plan)))
    other = placed.copy()
    fold = plan.fold == 0
    other[:, fold & plan.normal & (plan.domain == "target")] = 0.999
    before, after = corrected_positions(placed, posterior), corrected_positions(other, posterior)
    anomalies = fold & ~plan.normal
    np.testing.assert_array_equal(before[:, anomalies], after[:, anomalies])
    assert not np.array_equal(before[:, ~fold], after[:, ~fold])


def test_a_selection_judges_with_domains_and_says_so_in_its_recipe(tmp_path: Path) -> None:
    store = shifted_store(tmp_path / "s")
    members, cache = members_of(store), ScoreCache(tmp_path / "cache")
    predicted = select(store, members, cache, Options(replicates=20, workers=1))
    pooled = select(store, members, cache, Options(replicates=20, workers=1, domains="pooled"))
    assert (predicted.recipe.domains, pooled.recipe.domains) == ("predicted", "pooled")
    scores = [{c.member.name: c.score for c in chosen.candidates} for chosen in (predicted, pooled)]
    assert scores[0].keys() == scores[1].keys()
    assert scores[0] != scores[1]


@pytest.mark.parametrize("perturbed", [None, PerturbDesign(per_pair=4)])
def test_labelled_recordings_have_a_posterior_of_their_own_sound(
    tmp_path: Path, perturbed: PerturbDesign | None
) -> None:
    store = shifted_store(tmp_path / "s")
    clips, facts = store.clips("emb"), store.facts("emb")
    plan = plan_validation(clips, facts, perturbed=perturbed, faults=FAULTS)
    domains = validation_posterior(store, ["emb"], plan)
    assert domains is not None
    part = confirmed_part(plan, clips, facts, FAULTS)
    together, whole = with_labelled(store, ["emb"], domains, part), joined(plan, part)
    assert len(together.probability) == len(whole) == len(plan) + len(FAULTS)
    np.testing.assert_array_equal(together.probability[: len(plan)], domains.probability)
    target = whole.domain == "target"
    assert ((together.probability > 0.5) == target)[len(plan) :].mean() > 0.9
    np.testing.assert_array_equal(together.clips.target, target)
    np.testing.assert_array_equal(together.clips.fold, whole.fold)
    assert not together.clips.bank[len(plan) :].any()


@pytest.mark.parametrize("perturbed", [None, PerturbDesign(per_pair=4)])
def test_a_selection_with_faults_judges_with_domains(tmp_path: Path, perturbed: PerturbDesign | None) -> None:
    store = shifted_store(tmp_path / "s")
    options = Options(replicates=20, workers=0, perturbed=perturbed)
    selection = select(store, members_of(store), ScoreCache(tmp_path / "cache"), options, faults=FAULTS)
    assert selection.recipe.domains == "predicted"
    assert selection.clips["confirmed faults"] == sum(FAULTS.values())
    assert dict(selection.pairs)["confirmed faults"] > 0
    pooled = replace(options, domains="pooled")
    other = select(store, members_of(store), ScoreCache(tmp_path / "cache"), pooled, faults=FAULTS)
    scores = [{c.member.name: c.score for c in one.candidates} for one in (selection, other)]
    assert scores[0] != scores[1]
