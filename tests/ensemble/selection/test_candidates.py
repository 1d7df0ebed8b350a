"""Candidate grids: the expansion of a table, and mistakes in a grid file."""

from pathlib import Path

import pytest
from selection_store import selection_store

from detectors import create
from ensemble.selection.candidates import GRID, default_candidates, expand, read_grid
from featstore.errors import DataError, StoreError
from featstore.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return selection_store(tmp_path_factory.mktemp("grid") / "store")


def test_every_combination_occurs_once_in_canonical_text() -> None:
    tables = [{"name": "knn", "k": [1, 2], "standardize": [False, True]}, {"name": "knn", "k": 2, "pca": ["none"]}]
    assert expand(tables, "x") == ["knn", "knn:standardize=true", "knn:k=2", "knn:k=2,standardize=true"]


def test_the_default_grid_covers_every_view(store: FeatureStore) -> None:
    specs = expand(GRID, "default")
    for spec in specs:
        create(spec)
    assert len(specs) == len(set(specs)) > 20
    members = default_candidates(store)
    assert len(members) == 4 * len(specs)
    assert {member.source for member in members} == {"emb@good", "emb@blind", "emb@deaf", "emb@dumb"}
    assert {member.fingerprint for member in members} == {"f" * 64}


def test_a_grid_file_names_embeddings_and_detectors(tmp_path: Path, store: FeatureStore) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('embeddings = ["emb@blind"]\n[[detector]]\nname = "knn"\nk = [1, 3]\n[[detector]]\nname = "ldn"\n')
    names = [member.name for member in read_grid(path, store)]
    assert names == ["emb@blind knn", "emb@blind knn:k=3", "emb@blind ldn"]
    assert {member.source for member in read_grid(path, store, ("emb@good",))} == {"emb@good"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detectors = []", "did you mean detector"),
        ("", r"at least one \[\[detector\]\]"),
        ('[[detector]]\nname = "kn"', "did you mean knn"),
        ("[[detector]]\nk = 1", "needs a name"),
        ('[[detector]]\nname = "knn"\nkk = 1', "unknown parameter of knn"),
        ('[[detector]]\nname = "knn"\nk = "many"', "expected int"),
        ('[[detector]]\nname = "knn"\nk = []', "one or more"),
        ('[[detector]]\nname = "knn"\nk = [[1]]', "one or more"),
        ('embeddings = "emb"\n[[detector]]\nname = "knn"', "expected a list"),
        ("[[detector", "not a readable grid"),
    ],
)
def test_bad_grids_say_what_is_wrong(tmp_path: Path, store: FeatureStore, text: str, message: str) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_grid(path, store)


def test_an_unknown_embedding_or_view_is_named(tmp_path: Path, store: FeatureStore) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('embeddings = ["emb@no"]\n[[detector]]\nname = "knn"')
    with pytest.raises(StoreError, match="emb has no view 'no'; its views: good"):
        read_grid(path, store)
    with pytest.raises(StoreError, match="no embedding 'twfr'"):
        default_candidates(store, ("twfr",))
