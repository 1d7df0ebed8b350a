"""Detectors of scikit-learn and PyOD as members: in recipes and grids from elsewhere, and in a saved model."""

from pathlib import Path

import numpy as np
import pytest
from fitted_plant import COLUMNS, fitted_of, in_store, listed, store_of

from ensemble.fitting.fit import fit
from ensemble.recipe import Member, Recipe, read_recipe, refuse_own_code, write_recipe
from ensemble.run import detect
from ensemble.scoring.file import read_model, write_model
from ensemble.scoring.stored import from_stored, to_stored
from ensemble.selection.candidates import read_grid
from featstore.errors import DataError
from featstore.store import FeatureStore

SVM, LOF = "sklearn:OneClassSVM,nu=0.2,standardize=true", "sklearn:LocalOutlierFactor,n_neighbors=5"
RECIPE = Recipe((Member("v", SVM, "low"), Member("h", LOF), Member("h", "knn:k=2")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return store_of(tmp_path_factory.mktemp("store") / "s", listed())


def test_a_model_scores_as_the_store_does(store: FeatureStore, tmp_path: Path) -> None:
    whole = detect(store, RECIPE, workers=0)
    model = fitted_of(store, RECIPE, tmp_path)
    scored = model.detect(whole.clips, in_store(store, whole.clips))
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(scored, name), getattr(whole, name), rtol=1e-9, err_msg=name)


def test_a_recipe_from_elsewhere_needs_no_own_code(store: FeatureStore, tmp_path: Path) -> None:
    write_recipe(RECIPE, tmp_path / "recipe.toml")
    again = read_recipe(tmp_path / "recipe.toml")
    assert [member.detector for member in again.members] == [SVM, LOF, "knn:k=2"]
    refuse_own_code(tmp_path, [member.detector for member in again.members])
    with pytest.raises(DataError, match="give --own-code"):
        refuse_own_code(tmp_path, ["sklearn.svm:OneClassSVM"])


def test_a_grid_lists_their_parameters(store: FeatureStore, tmp_path: Path) -> None:
    text = '[[detector]]\nname = "sklearn:OneClassSVM"\nnu = [0.1, 0.2]\npca = ["none", 2]\n'
    (tmp_path / "grid.toml").write_text(text)
    members = read_grid(tmp_path / "grid.toml", store, ["h"])
    assert [member.detector for member in members] == [
        "sklearn:OneClassSVM,nu=0.1",
        "sklearn:OneClassSVM,nu=0.1,pca=2",
        "sklearn:OneClassSVM,nu=0.2",
        "sklearn:OneClassSVM,nu=0.2,pca=2",
    ]


def test_a_model_that_names_another_class_of_the_library_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    meta, arrays = to_stored(fit(store, RECIPE, workers=0)[0])
    for name, message in (
        ("sklearn:KMeans", "unknown detector of scikit-learn"),
        ("sklearn.svm:SVC", "no detector of"),
    ):
        changed = {**meta, "recipe": meta["recipe"].replace(LOF, name)}
        write_model(tmp_path / "b.model", changed, arrays)
        with pytest.raises((ValueError, DataError), match=message):
            from_stored(*read_model(tmp_path / "b.model"))
