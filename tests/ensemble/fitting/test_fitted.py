"""A fitted recipe, through a file, gives the numbers of a detection; each clip by itself."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fitted_plant import KNN, MEMBERS, assert_same, fitted_of, in_store, listed, store_of
from saved_detectors import SPECS

from ensemble.decision.fuse import FUSIONS
from ensemble.fitting.fitted import Fitted
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.errors import DataError
from featstore.store import FeatureStore
from featstore.table import ClipTable

RECIPE = Recipe(MEMBERS, domains="predicted")
RECIPES: dict[str, dict[str, Any]] = {
    **{rule: {"fusion": rule} for rule in FUSIONS},
    "weights": {"fusion": "weighted_mean", "members": tuple(replace(m, weight=1.0 + i) for i, m in enumerate(MEMBERS))},
    "pooled": {"domains": "pooled"},
    "known": {"domains": "known"},
    "no tail": {"tail": "none", "false_alarm_rate": 0.02},
    "spread": {"tail": "spread", "false_alarm_rate": 0.02},
    "gamma": {"threshold": "gamma", "domains": "pooled"},
    "pooled sections": {"pool_sections": True},
    "pooled sections, gamma, known": {"pool_sections": True, "threshold": "gamma", "domains": "known"},
    "blocks": {"group": "day"},
    "blocks, pooled sections": {"group": "day", "pool_sections": True},
    "groups": {"group_by": "speed", "members": (Member("v", "mahalanobis:by=group"), Member("h", KNN))},
    "all attributes": {"group_by": "attributes", "members": (Member("v", "gmm:start=group,covariance_type=diag"),)},
    "one member": {"members": MEMBERS[:1]},
    "one member, all views": {"members": MEMBERS[1:2], "domains": "pooled"},
    "half precision": {"members": MEMBERS[2:]},
    "half precision, gamma": {"members": MEMBERS[2:], "threshold": "gamma", "domains": "known"},
}


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("store") / "s", listed())


@pytest.fixture(scope="module")
def fitted(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted_of(store, RECIPE, tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_decides_as_a_detection_does(store: FeatureStore, tmp_path: Path, name: str) -> None:
    recipe = replace(RECIPE, **RECIPES[name])
    expected = detect(store, recipe, workers=0)
    fitted = fitted_of(store, recipe, tmp_path)
    assert_same(fitted.detect(expected.clips, in_store(store, expected.clips)), expected)


def test_every_detector_scores_as_in_a_detection(tmp_path: Path) -> None:
    clips = [clip for clip in listed(70, 4, ["fan"]) if clip.section == "00"]
    store = store_of(tmp_path / "s", clips)
    recipe = Recipe(tuple(Member("h", spec) for spec in SPECS), group_by="speed", domains="predicted")
    expected = detect(store, recipe, workers=0)
    result = fitted_of(store, recipe, tmp_path).detect(expected.clips, in_store(store, expected.clips))
    for i, spec in enumerate(SPECS):
        np.testing.assert_allclose(
            result.member_percentiles[i], expected.member_percentiles[i], rtol=0, atol=1e-9, err_msg=spec
        )
    assert_same(result, expected)


def test_a_clip_alone_is_decided_as_among_others(store: FeatureStore, fitted: Fitted) -> None:
    clips = store.clips("v")[store.clips("v").where(split="test")]
    rows = in_store(store, clips)
    together = fitted.detect(clips, rows)
    for i in range(len(clips)):
        alone = fitted.detect(clips[[i]], {name: X[[i]] for name, X in rows.items()})
        for name in ("score", "percentile", "decision", "nearest_distance"):
            assert getattr(alone, name)[0] == pytest.approx(getattr(together, name)[i], abs=1e-12)
        assert alone.decided.p_value[0] == pytest.approx(together.decided.p_value[i], abs=1e-12)
        assert alone.decided.threshold[0] == pytest.approx(together.decided.threshold[i], abs=1e-12)
        assert alone.nearest == [together.nearest[i]]


def test_no_clip_influences_another(store: FeatureStore, fitted: Fitted) -> None:
    clips = store.clips("v")[store.clips("v").where(split="test")]
    rows = in_store(store, clips)
    before = fitted.detect(clips, rows)
    changed = {name: X.copy() for name, X in rows.items()}
    others = np.arange(len(clips)) % 3 != 0
    for X in changed.values():
        X[others] = 1e3
    after = fitted.detect(clips, changed)
    assert not np.allclose(after.score[others], before.score[others])
    np.testing.assert_allclose(after.score[~others], before.score[~others], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(after.decision[~others], before.decision[~others])


@pytest.mark.parametrize("domains", ["pooled", "predicted"])
def test_labels_and_domains_of_scored_clips_are_not_read(
    store: FeatureStore, tmp_path: Path, rng: np.random.Generator, domains: str
) -> None:
    fitted = fitted_of(store, replace(RECIPE, domains=domains), tmp_path)
    clips = store.clips("v")[store.clips("v").where(split="test")]
    rows = in_store(store, clips)
    order = rng.permutation(len(clips))
    mixed = {name: clips.columns[name][order] for name in ("label", "domain", "attributes")}
    assert (mixed["label"] != clips.columns["label"]).any()
    assert_same(fitted.detect(ClipTable({**clips.columns, **mixed}), rows), fitted.detect(clips, rows), 0)


def test_an_unknown_section_is_named_with_the_nearest_known_one(store: FeatureStore, fitted: Fitted) -> None:
    clips = store.clips("v")[store.clips("v").where(split="test", machine="fan", section="00")]
    rows = in_store(store, clips)
    other = ClipTable({**clips.columns, "machine": np.full(len(clips), b"fam")})
    with pytest.raises(DataError, match=r"fam/00: no such machine and section; there are .*; did you mean fan/00\?"):
        fitted.detect(other, rows)


def test_a_pooled_machine_scores_a_section_without_training_clips(tmp_path: Path) -> None:
    clips = [clip for clip in listed() if clip.split == "test" or clip.section == "00"]
    store = store_of(tmp_path / "s", clips)
    recipe = replace(RECIPE, pool_sections=True)
    expected = detect(store, recipe, workers=0)
    assert set(expected.clips.column("section")) == {"00", "01"}
    result = fitted_of(store, recipe, tmp_path).detect(expected.clips, in_store(store, expected.clips))
    assert_same(result, expected)


def test_a_score_that_is_not_finite_names_the_clip(store: FeatureStore, fitted: Fitted) -> None:
    clips = store.clips("v")[store.clips("v").where(split="test")][[0]]
    endless = SimpleNamespace(anomaly_score=lambda X: np.full(len(X), np.inf))
    broken = replace(fitted, detectors={bank: [*own[:2], endless] for bank, own in fitted.detectors.items()})  # type: ignore[list-item]
    with pytest.raises(DataError, match=rf"{clips[0].key}: h knn:k=2 gives the score inf"):
        broken.detect(clips, in_store(store, clips))


@pytest.mark.parametrize("domains", ["pooled", "known", "predicted"])
def test_the_thresholds_are_those_that_decide(store: FeatureStore, tmp_path: Path, domains: str) -> None:
    """A clip of a sure domain is decided by one of the thresholds of its section."""
    fitted = fitted_of(store, replace(RECIPE, domains=domains), tmp_path)
    known = fitted.thresholds()
    clips = store.clips("v")[store.clips("v").where(split="test")]
    decided = fitted.detect(clips, in_store(store, clips)).decided
    for clip, threshold in zip(clips, decided.threshold.tolist(), strict=True):
        here = [
            value
            for (machine, section, _), (_, value) in known.items()
            if (machine, section) == (clip.machine, clip.section)
        ]
        assert min(abs(threshold - value) for value in here) < 1e-12
    domain = {"pooled": {""}, "known": {"source", "target"}, "predicted": {"source", "target"}}[domains]
    assert {place[2] for place in known} == domain


def test_a_machine_whose_domains_are_not_learned_has_one_threshold_per_section(tmp_path: Path) -> None:
    """The pump has a single target clip per section, too few to learn from."""
    clips = [c for c in listed() if c.machine == "fan" or c.domain != "target" or c.path.endswith("003.wav")]
    store = store_of(tmp_path / "s", clips)
    fitted = fitted_of(store, RECIPE, tmp_path)
    assert set(fitted.domains.posterior.machines) == {"fan"}  # type: ignore[union-attr]
    domains = {machine: {d for m, _, d in fitted.thresholds() if m == machine} for machine in ("fan", "pump")}
    assert domains == {"fan": {"source", "target"}, "pump": {""}}
