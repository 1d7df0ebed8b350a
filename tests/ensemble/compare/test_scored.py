"""Scores of several recipes at once are those of each recipe alone, and shared members are computed once."""

from dataclasses import replace

import numpy as np
import pytest
from compared import both_domains, compared_store
from fitted_plant import KNN, MAHALANOBIS, store_of

from ensemble.compare.scored import score_recipes
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.errors import RequestError

FUSED = Recipe((Member("v", KNN, "low"), Member("h", MAHALANOBIS)), fusion="fisher")
RECIPES = {
    "fused": FUSED,
    "one": Recipe((Member("h", KNN),), name="single"),
    "predicted": Recipe((Member("h", KNN), Member("h", MAHALANOBIS)), domains="predicted"),
    "both": Recipe((Member("h", KNN), Member("v", KNN, "low")), domains="predicted", fusion="min_zscore"),
    "pooled": replace(FUSED, pool_sections=True),
    "grouped": replace(FUSED, group="day"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return compared_store(tmp_path_factory.mktemp("compared") / "store")


def test_every_recipe_scores_as_alone(store):
    scored = score_recipes(store, RECIPES)
    assert list(scored.tables) == list(RECIPES)
    for name, recipe in RECIPES.items():
        alone = detect(store, recipe)
        np.testing.assert_allclose(
            scored.tables[name].aligned(alone.clips.keys()), alone.score, rtol=1e-9, atol=1e-9, err_msg=name
        )


def test_shared_members_are_scored_once(store):
    steps = []
    shared = {name: RECIPES[name] for name in ("one", "fused", "predicted", "both")}
    score_recipes(store, shared, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (3, 3), "h knn, h mahalanobis and v@low knn"


def test_machines_are_chosen(store):
    keys = score_recipes(store, {"one": RECIPES["one"]}, machines=["pump"]).tables["one"].keys
    assert len(keys) == 32
    assert all(key.startswith("pump/test") for key in keys)


def test_a_recipe_with_another_embedding_is_named(store):
    other = Recipe((Member("h", KNN, fingerprint="0" * 64),))
    with pytest.raises(RequestError, match=r"^theirs: .*another h .fingerprint 000000000000"):
        score_recipes(store, {"one": RECIPES["one"], "theirs": other})


def test_notes_are_given_once(tmp_path):
    clips = both_domains()
    clips.append(replace(clips[0], path="fan/train/fault.wav", label="anomaly"))
    scored = score_recipes(store_of(tmp_path / "s", clips), RECIPES)
    assert scored.notes.count("1 training recording labelled anomaly left out of the banks") == 1
