"""The fixed default: which members it has with which weights, and that a recipe repeats it."""

from pathlib import Path

import numpy as np
import pytest
from view_store import listed, patterned, with_views

from ensemble.defaults import DETECTORS, default_recipe, weighted_recipe
from ensemble.output import write_detection
from ensemble.recipe import Recipe, read_recipe
from ensemble.run import detect
from featstore.store import FeatureStore


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    clips = listed()
    X, noise = patterned(len(clips)), np.random.default_rng(5).normal(size=(len(clips), 12))
    fair = patterned(len(clips), noise=0.22, seed=2)
    return with_views(tmp_path / "s", clips, {"good": X, "noise": noise, "copy": 2 * X, "fair": fair})


def views(recipe: Recipe) -> dict[str, set[float]]:
    weights: dict[str, set[float]] = {}
    for member in recipe.members:
        weights.setdefault(member.view, set()).add(member.weight)
    return weights


def test_every_detector_stands_on_every_view_that_stays(store: FeatureStore) -> None:
    recipe = default_recipe(store)
    assert recipe.fusion == "weighted_fisher"
    assert set(views(recipe)) == {"good", "fair"}
    assert [member.detector for member in recipe.members if member.view == "good"] == list(DETECTORS)
    for detector, weight in DETECTORS.items():
        largest = max(member.weight for member in recipe.members if member.detector == detector)
        assert largest == pytest.approx(weight)


@pytest.mark.parametrize("named", [("v@good", "v@noise"), ("v@good", "v@noise", "v@copy", "v@fair")])
def test_named_views_all_stay(store: FeatureStore, named: tuple[str, ...]) -> None:
    assert set(views(default_recipe(store, named))) == {name.removeprefix("v@") for name in named}


def test_a_view_named_beside_its_embedding_counts_once_or_is_added(store: FeatureStore) -> None:
    assert default_recipe(store, ("v", "v@good")) == default_recipe(store, ("v",))
    assert set(views(default_recipe(store, ("v", "v@noise")))) == {"good", "fair", "noise"}
    assert set(views(default_recipe(store, ("v@copy", "v")))) == {"good", "fair", "copy"}


def test_named_detectors_stand_on_every_view_with_its_weight(store: FeatureStore) -> None:
    recipe = default_recipe(store, (), ("gmm", "lof"))
    assert len(recipe.members) == 4 * 2
    assert {member.detector for member in recipe.members} == {"gmm", "lof"}
    assert all(len(weights) == 1 for weights in views(recipe).values()), "named detectors count alike"
    weight = {view: weights.pop() for view, weights in views(recipe).items()}
    assert weight["noise"] < 0.1 < weight["good"]
    assert weight["good"] == weight["copy"]


def test_a_single_view_has_the_weights_of_the_detectors(store: FeatureStore) -> None:
    recipe = default_recipe(store, ("v@fair",))
    assert {member.detector: member.weight for member in recipe.members} == DETECTORS


def test_the_written_recipe_gives_the_same_scores(store: FeatureStore, tmp_path: Path) -> None:
    first = detect(store, default_recipe(store))
    write_detection(first, tmp_path / "out")
    again = detect(store, read_recipe(tmp_path / "out" / "recipe.toml"))
    np.testing.assert_array_equal(first.score, again.score)


def test_weights_act_on_the_scores(store: FeatureStore) -> None:
    equal = weighted_recipe(store, [("v", "good")], dict.fromkeys(DETECTORS, 1.0))
    assert not np.allclose(detect(store, equal).score, detect(store, default_recipe(store, ("v@good",))).score)
