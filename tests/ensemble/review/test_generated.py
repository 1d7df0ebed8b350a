"""Scores of generated anomalies: no anomaly profits from its own original, and what cannot be scored says so."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selection_store import labelled, recordings, selection_store, variants

from ensemble.page.scored import Scored, scored_of
from ensemble.recipe import Member, Recipe, recipe_text
from ensemble.review import generated as generated_module
from ensemble.review.generated import COMPUTING, NO_ANOMALIES, NONE, READY, Background, generated_scores
from ensemble.review.whatif import Generated
from ensemble.run import detect
from ensemble.selection.scoring.validation import Validation, plan_validation
from featstore.errors import DataError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

RECIPE = Recipe((Member("emb", "knn:k=1", "good"), Member("emb", "mahalanobis", "good")))
ALONE = Recipe((Member("emb", "knn:k=1", "good"),))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    clips = [*recordings(), *variants(recordings()), *labelled()]
    return selection_store(tmp_path_factory.mktemp("generated") / "store", clips)


def scored(store: FeatureStore, recipe: Recipe) -> Scored:
    return scored_of(detect(store, recipe), title="store")


def files(store: FeatureStore) -> set[Path]:
    return set(store.path.rglob("*"))


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, domains="predicted"), ALONE])
def test_every_anomaly_of_every_section_is_scored_on_the_scale_of_the_run(store: FeatureStore, recipe: Recipe) -> None:
    before, results = files(store), scored(store, recipe)
    generated = generated_scores(store, results)
    assert set(generated) == {("fan", "00"), ("fan", "01")}
    for (machine, section), own in generated.items():
        assert len(own.scores) == len(own.kinds) == 20 * 4 * 2
        assert np.isfinite(own.scores).all()
        reference = results.reference[results.reference_rows(machine, section)]
        assert np.median(own.scores) > np.median(reference)  # the good view shows most of them
        if results.bounded:
            assert ((own.scores > 0) & (own.scores < 1)).all()
    assert files(store) == before  # a page leaves the store as it is


def identical(tmp_path: Path) -> FeatureStore:
    """A store whose generated anomalies do not differ from their originals at all."""
    clips = [*recordings(), *labelled()]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(clips), 6)).astype(np.float32)
    row = {clip.path: X[i] for i, clip in enumerate(clips)}
    made = variants(recordings())
    rows = np.concatenate([X, np.array([row[clip.path] for clip in made])])
    import_matrix(tmp_path / "s", "emb", rows, ClipTable.from_clips([*clips, *made]))
    return FeatureStore.open(tmp_path / "s")


def test_an_anomaly_does_not_profit_from_its_original(tmp_path: Path) -> None:
    store = identical(tmp_path)
    recipe = Recipe((Member("emb", "knn:k=1"),))
    results = scored(store, recipe)
    for (machine, section), own in generated_scores(store, results).items():
        reference = results.reference[results.reference_rows(machine, section)]
        assert own.scores.min() > 1e-3  # with its original in the bank, its distance would be 0
        for value in np.quantile(reference, [0.2, 0.5, 0.8]):  # as normal clips: none of them is found more often
            assert np.mean(own.scores > value) == pytest.approx(np.mean(reference > value), abs=0.11)
    fused = Recipe((*recipe.members, Member("emb", "mahalanobis")))
    results = scored(store, fused)
    for own in generated_scores(store, results).values():
        # the positions of normal clips among normal clips: as many above any threshold as below
        assert np.mean(own.scores > 0.5) == pytest.approx(0.5, abs=0.12)


def test_sections_can_be_pooled(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pooled, planned = replace(RECIPE, pool_sections=True), []

    def plan(*args: Any, **options: Any) -> Validation:
        planned.append(plan_validation(*args, **options))
        return planned[-1]

    monkeypatch.setattr(generated_module, "plan_validation", plan)
    generated = generated_scores(store, scored(store, pooled))
    assert {key: len(own.scores) for key, own in generated.items()} == {("fan", "00"): 160, ("fan", "01"): 160}
    apart = generated_scores(store, scored(store, RECIPE))
    assert [each.sections for each in planned] == [(("fan", "all"),), (("fan", "00"), ("fan", "01"))]
    assert not np.array_equal(generated["fan", "00"].scores, apart["fan", "00"].scores)


def test_a_store_without_anomalies_and_a_recipe_that_cannot_be_fitted(store: FeatureStore, tmp_path: Path) -> None:
    plain = selection_store(tmp_path / "plain", [*recordings(), *labelled()])
    assert generated_scores(plain, scored(plain, RECIPE)) == {}
    results = scored(store, RECIPE)
    for member, words in (
        (Member("", "scores:theirs.csv", fingerprint="0" * 64), "scores of another system"),
        (Member("emb", "mine:Detector", "good"), "code of one's own"),
    ):
        text = recipe_text(replace(RECIPE, members=(*RECIPE.members, member)))
        with pytest.raises(DataError, match=words):
            generated_scores(store, replace(results, recipe=text))


def test_the_background_computes_once_and_tells_how_far_it_is() -> None:
    calls, go = [], threading.Event()

    def compute() -> dict[tuple[str, str], Generated]:
        calls.append(1)
        assert go.wait(30)
        return {("fan", "00"): Generated(np.ones(1), ["leak"])}

    background = Background(compute)
    assert background.state().name == background.state().name == COMPUTING
    go.set()
    state = background.wait(30)
    assert state.name == READY
    assert state.scores["fan", "00"].found(0.5) == 1
    assert calls == [1]


def test_the_background_tells_why_there_is_nothing() -> None:
    def refuse() -> dict[tuple[str, str], Generated]:
        raise DataError("no section has two training clips")

    assert Background(refuse).wait(30).reason == "no section has two training clips"
    assert Background(dict).wait(30).reason == NO_ANOMALIES
    assert Background(dict).wait(30).name == NONE
