"""Mixes that are left out: removed power and spread by hand, stores in which noise is removed or not, and names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from scored_plant import built
from two_microphones import LISTED, record_two

from ensemble.checks.subtracted import (
    FAR,
    LEAST_REMOVED_DB,
    MOST_SPREAD,
    UNMEASURED,
    Removed,
    left_out,
    left_out_notes,
    measured,
    removed,
    used_views,
)
from ensemble.chosen import chosen_ensemble
from ensemble.defaults import default_recipe
from ensemble.selection.candidates import default_candidates
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.select import Options
from featstore.audio.policy import AudioPolicy
from featstore.store import FeatureStore

SPEC = "logmel:stats=mean;p10"


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def two(folder: Path, *, common: bool, spec: str = SPEC, channel: str = LISTED) -> FeatureStore:
    """A store of two microphones that hear the same noise, or noise that has nothing in common."""
    root = record_two(folder / "data", common=common)
    return built(root, folder / "store", {"logmel": spec}, AudioPolicy(channel, "native"))


@pytest.fixture(scope="module")
def much(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return two(tmp_path_factory.mktemp("much"), common=True)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return two(tmp_path_factory.mktemp("nothing"), common=False)


def mixes_of_members(members: object) -> set[str]:
    return {member.view.partition("/")[0] for member in members}  # type: ignore[attr-defined]


def test_power_and_spread_are_known() -> None:
    signs = np.tile([-1.0, 1.0], 8)
    near, left = (np.tile(signs[:, None] * size, (1, 3)) for size in (2.0, 1.0))
    section = np.repeat([0, 1], 8)
    offset = 20.0 * section[:, None]  # sections differ, their clips do not
    near, left = near + offset, left - 10 + offset
    for array in (near, left, section):
        array.flags.writeable = False
    found = removed(near, left, section)
    assert found is not None
    assert found.power_db == pytest.approx(10.0)  # the median of 10 - 1 and 10 + 1
    assert found.spread == pytest.approx(np.hypot(1, 0.1) / np.hypot(2, 0.1))
    assert removed(near[:7], left[:7], section[:7]) is None
    few = removed(near[:11], left[:11], section[:11])  # a section of three clips does not count
    assert few == removed(near[:8], left[:8], section[:8])


def test_power_is_that_of_all_bands() -> None:
    near = np.tile([10.0, 10.0, 0.0], (8, 1))
    left = np.tile([0.0, 10.0, 0.0], (8, 1))
    found = removed(near, left, np.zeros(8))
    assert found is not None
    assert found.power_db == pytest.approx(10 * np.log10(21 / 12))
    assert found.spread == 1


@pytest.mark.parametrize(
    ("power_db", "spread", "word"),
    [
        (LEAST_REMOVED_DB, MOST_SPREAD, ""),
        (LEAST_REMOVED_DB - 0.2, 0.1, "of the near microphone, less than"),
        (9.0, MOST_SPREAD + 0.01, "may remove sound of the machine"),
    ],
)
def test_little_removed_power_and_a_spread_that_stays_leave_a_mix_out(
    power_db: float, spread: float, word: str
) -> None:
    reason = Removed(power_db, spread).reason
    assert word in reason
    assert bool(reason) == bool(word)


def test_noise_that_both_hear_is_removed_and_independent_noise_is_not(
    much: FeatureStore, nothing: FeatureStore
) -> None:
    found, chance = measured(much, "0-1", "0"), measured(nothing, "0-1", "0")
    assert found is not None
    assert chance is not None
    assert found.power_db > 6
    assert chance.power_db < 1.4
    assert found.spread < 0.5
    assert chance.spread > 1
    assert left_out(much) == {"1": FAR}
    assert set(left_out(nothing)) == {"1", "0-1"}
    _, note = left_out_notes(nothing)
    assert note.startswith("0-1 left out: it removes ")
    assert note.endswith("; to add it to the rest: -e logmel -e logmel@0-1")


def test_default_and_candidates_are_without_it_unless_it_is_named(much: FeatureStore, nothing: FeatureStore) -> None:
    assert mixes_of_members(default_recipe(much).members) == {"0", "0-1"}
    assert mixes_of_members(default_recipe(nothing).members) == {"0"}
    assert mixes_of_members(default_candidates(much)) == {"0", "0-1"}
    assert mixes_of_members(default_candidates(nothing)) == {"0"}
    assert mixes_of_members(default_candidates(nothing, ["logmel"])) == {"0"}
    assert mixes_of_members(default_candidates(nothing, ["logmel@1/mean"])) == {"1"}
    assert mixes_of_members(default_candidates(nothing, ["logmel@0-1/mean"])) == {"0-1"}
    assert mixes_of_members(default_recipe(nothing, ("logmel@0-1/mean",)).members) == {"0-1"}
    assert left_out(nothing, ["logmel@0-1/mean"]) == {}
    assert used_views(nothing.info("logmel"), left_out(nothing)) == ("0/mean", "0/p10")


def test_a_selection_without_it_is_that_of_the_near_channel(
    nothing: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ensemble.selection.candidates.GRID", ({"name": "knn", "k": [1, 2]}, {"name": "mahalanobis"}))
    options = Options(workers=1, replicates=20, perturbed=PerturbDesign())
    lines: list[str] = []
    ensemble = chosen_ensemble(nothing, (), options, say=lines.append)
    assert lines[:2] == [f"note: {note}" for note in left_out_notes(nothing)]
    near = two(tmp_path, common=False, channel="0")
    alone = chosen_ensemble(near, (), options, say=lines.append)
    assert ensemble.selection is not None
    assert alone.selection is not None
    names = [candidate["name"].replace("0/", "") for candidate in ensemble.selection["candidates"]]
    assert names == [candidate["name"] for candidate in alone.selection["candidates"]]
    assert ensemble.selection["standings"] == alone.selection["standings"]
    chosen = [replace(member, view=member.view.removeprefix("0/")) for member in ensemble.recipe.members]
    assert [(m.view, m.detector, m.weight) for m in chosen] == [
        (m.view, m.detector, m.weight) for m in alone.recipe.members
    ]


def test_what_cannot_be_measured_is_left_out(tmp_path: Path) -> None:
    store = two(tmp_path, common=True, spec="logmel:stats=std;delta")
    assert left_out(store) == {"1": FAR, "0-1": UNMEASURED}
    assert mixes_of_members(default_recipe(store).members) == {"0"}


@pytest.mark.parametrize("spec", ["logmel:stats=median", "twfr:r=0.99;0.9", "twfr:r=0.9"])
def test_any_level_over_time_serves(tmp_path: Path, spec: str) -> None:
    store = two(tmp_path, common=True, spec=spec)
    found = measured(store, "0-1", "0")
    assert found is not None
    assert found.power_db > 6
    assert left_out(store) == {"1": FAR}


def test_without_the_near_channel_alone_nothing_is_left_out(tmp_path: Path) -> None:
    store = two(tmp_path, common=False, channel="1,0-1")
    assert left_out(store) == {"1": FAR}
    assert mixes_of_members(default_recipe(store).members) == {"0-1"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_levels_that_are_not_finite_leave_a_subtraction_out(value: float) -> None:
    near = np.random.default_rng(0).normal(size=(20, 4))
    left = near - 6.0
    left[3, 1] = value
    effect = removed(near, left, np.array(["00"] * 20))
    assert effect is not None
    assert effect.reason == "its levels are not finite"


def test_the_limits_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "microphones.md").read_text()
    assert f"at least {LEAST_REMOVED_DB:g} dB" in page
    assert f"at most {MOST_SPREAD:g} " in page
