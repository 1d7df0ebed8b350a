"""Result files: written whole, replaced together, and left as they were by a run or a write that fails."""

import errno
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from selection_store import selection_store

from ensemble.cli import main
from ensemble.output import PACKAGE, prepare_out, write_detection, write_metrics
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection, detect
from featstore.disk import files
from featstore.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return selection_store(tmp_path_factory.mktemp("output") / "store")


@pytest.fixture(scope="module")
def detection(store: FeatureStore) -> Detection:
    return detect(store, Recipe((Member("emb", "knn", "good"),)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def full_disk(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_write_that_fails_leaves_every_earlier_file(
    detection: Detection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detection(detection, tmp_path)
    write_metrics(tmp_path / "metrics.json", {"earlier": True})
    before = contents(tmp_path)
    monkeypatch.setattr(files.os, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_detection(detection, tmp_path)
    with pytest.raises(OSError, match="No space left"):
        write_metrics(tmp_path / "metrics.json", {"earlier": False})
    assert contents(tmp_path) == before


def test_metrics_of_an_earlier_run_do_not_stay_beside_new_scores(detection: Detection, tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.json", {})
    write_detection(detection, tmp_path)
    assert sorted(contents(tmp_path)) == ["recipe.toml", "scores.csv"]


def run(store: FeatureStore, out: Path, *more: str) -> Result:
    return CliRunner().invoke(main, [str(store.path), "-d", "knn", "-e", "emb@good", "-o", str(out), *more])


def test_a_run_that_fails_leaves_the_results_of_the_earlier_one(store: FeatureStore, tmp_path: Path) -> None:
    assert run(store, tmp_path, "--format", "dcase").exit_code == 0
    before = contents(tmp_path)
    assert "metrics.json" in before
    assert run(store, tmp_path, "--format", "dcase", "--machine", "nowhere").exit_code == 1
    assert contents(tmp_path) == before


def test_what_an_earlier_run_left_is_reported(detection: Detection, tmp_path: Path) -> None:
    assert prepare_out(tmp_path / "new", package=False) == []
    write_detection(detection, tmp_path)
    (tmp_path / PACKAGE).mkdir()
    assert [note.split(" earlier run")[0] for note in prepare_out(tmp_path, package=False)] == [
        "the results of an",
        f"{tmp_path / PACKAGE} is the package of an",
    ]
    assert len(prepare_out(tmp_path, package=True)) == 1
