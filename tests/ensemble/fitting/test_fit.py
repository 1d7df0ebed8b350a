"""What can be fitted, what is refused, and what the user is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted_plant import MEMBERS, listed, store_of

from ensemble.fitting.fit import fit
from ensemble.recipe import Member, Recipe
from featstore.errors import DataError
from featstore.store import FeatureStore

RECIPE = Recipe(MEMBERS, domains="predicted")


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("store") / "s", listed())


def test_test_clips_are_not_read(store: FeatureStore, tmp_path: Path) -> None:
    alone = store_of(tmp_path / "s", [clip for clip in listed() if clip.split == "train"])
    with_test, without = fit(store, RECIPE, workers=0), fit(alone, RECIPE, workers=0)
    np.testing.assert_array_equal(with_test[0].honest, without[0].honest)
    assert with_test[0].thresholds() == without[0].thresholds()
    assert with_test[1] == without[1]
    assert not any("ranked among themselves" in note for note in without[1])


def test_sections_of_one_clip_are_left_out_with_a_note(tmp_path: Path) -> None:
    clips = [
        clip for clip in listed() if (clip.machine, clip.section) != ("pump", "01") or clip.path.endswith("000.wav")
    ]
    fitted, notes = fit(store_of(tmp_path / "s", clips), RECIPE, workers=0)
    assert ("pump", "01") not in fitted.detectors
    assert "pump section 01: left out, because its single clip has nothing to be compared with" in notes


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        ([clip for clip in listed() if clip.split == "test"], "no training clips"),
        ([clip for clip in listed() if clip.path.endswith("train/section_00_000.wav")], "no section has two clips"),
    ],
    ids=["no training clips", "single clips"],
)
def test_a_store_with_nothing_to_fit_is_refused(tmp_path: Path, clips: list, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=rf"{tmp_path}/s: v: {words}"):
        fit(store_of(tmp_path / "s", clips), RECIPE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fdr": 0.1}, "a model decides each clip by a false-alarm rate"),
        ({"fusion": "median"}, "unknown fusion"),
        ({"threshold": "median"}, "unknown threshold"),
        ({"members": (Member("v", "knnn"),)}, "unknown detector"),
        ({"threshold": "gamma"}, "gamma threshold needs positive"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_decide_a_clip_is_refused_when_it_is_fitted(
    store: FeatureStore, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        fit(store, replace(RECIPE, **changes), workers=0)  # type: ignore[arg-type]


def test_a_score_file_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    keys = store.clips("v").keys()
    (tmp_path / "theirs.csv").write_text("\n".join(["clip,score", *(f"{key},0.5" for key in keys), ""]))
    recipe = Recipe((*MEMBERS, Member("", f"scores:{tmp_path / 'theirs.csv'}")))
    with pytest.raises(DataError, match=r"theirs\.csv: a score file cannot score new clips"):
        fit(store, recipe)


def test_named_machines_alone(store: FeatureStore) -> None:
    fitted = fit(store, RECIPE, machines=["pump"], workers=0)[0]
    assert {machine for machine, _ in fitted.detectors} == {"pump"}
    with pytest.raises(DataError, match="no machine 'pumb'; it has fan, pump; did you mean pump"):
        fit(store, RECIPE, machines=["pumb"])


def test_processes_fit_the_same(store: FeatureStore) -> None:
    inline, spread = (fit(store, RECIPE, workers=n)[0] for n in (0, 2))
    np.testing.assert_array_equal(inline.honest, spread.honest)
    assert inline.thresholds() == spread.thresholds()
