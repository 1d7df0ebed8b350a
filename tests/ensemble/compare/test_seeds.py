"""Which recipes have a seed, what raising it changes, and the spread of the scores."""

import pytest

from ensemble.compare.seeds import Spread, seeds_note, with_seeds
from ensemble.recipe import Member, Recipe

GMM, PLAIN = Member("h", "gmm:n_components=3,seed=4"), Member("h", "mahalanobis")


def test_every_seed_of_a_recipe_is_raised_together():
    recipe = Recipe((GMM, PLAIN, Member("v", "knn:source_clusters=4")), fusion="fisher")
    again = with_seeds("mine", recipe, 3)
    assert list(again) == ["mine (seed + 1)", "mine (seed + 2)"]
    detectors = [[member.detector for member in variant.members] for variant in again.values()]
    assert detectors == [
        ["gmm:n_components=3,seed=5", "mahalanobis", "knn:source_clusters=4,seed=1"],
        ["gmm:n_components=3,seed=6", "mahalanobis", "knn:source_clusters=4,seed=2"],
    ]
    assert {variant.fusion for variant in again.values()} == {"fisher"}


def test_the_seed_of_another_library_is_found_without_being_named():
    again = with_seeds("forest", Recipe((Member("h", "sklearn:IsolationForest,n_estimators=9"),)), 3)
    detectors = [variant.members[0].detector for variant in again.values()]
    assert [detector.partition("random_state=")[2] for detector in detectors] == ["1", "2"]
    assert with_seeds("lof", Recipe((Member("h", "sklearn:LocalOutlierFactor"),)), 3) == {}


def test_without_a_seed_nothing_runs_again():
    assert with_seeds("mine", Recipe((PLAIN,)), 5) == {}
    assert with_seeds("mine", Recipe((Member("", "scores:a.csv"),)), 5) == {}
    assert with_seeds("mine", Recipe((GMM,)), 1) == {}


def test_the_note_names_what_is_random():
    assert "a seed changes what gmm draws" in seeds_note([Recipe((GMM, PLAIN))])
    assert "a seed changes nothing; embeddings" in seeds_note([Recipe((PLAIN,))])
    assert "trained networks are fixed in the store" in seeds_note([])


def test_a_spread_by_hand():
    spread = Spread((0.5, 0.7, 0.6))
    assert (spread.mean, spread.deviation) == pytest.approx((0.6, 0.1))
    assert spread.varies
    assert not Spread((0.5, 0.5)).varies
