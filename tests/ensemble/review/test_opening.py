"""Opening a page: from kept results of this store, and from nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from large_results import large_results
from report_plant import plant, record, store_of
from starlette.testclient import TestClient

from ensemble.page.kept import FILE, read_results
from ensemble.request import RunRequest, Screen
from ensemble.results import OutRequest, run_to
from ensemble.review.opening import open_session, run_ensemble
from ensemble.review.saved import FILE as THRESHOLDS
from ensemble.review.saved import save_thresholds
from ensemble.review.server.app import application
from ensemble.review.session import Session
from featstore.building.state import BuildState, write_state
from featstore.errors import DataError, StoreError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore, StoreWriter
from featstore.table import ClipTable

SILENT = Screen(lambda line: None, lambda done, total: None, lambda done, total: None)


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def run_plain(store: Path, results: Path, data: Path | None) -> None:
    request = RunRequest(detectors=("knn:k=1", "knn:k=2"))
    run_to(store, results, request, SILENT, OutRequest(data=data))


def no_run(store: Path, results: Path, data: Path | None) -> None:
    pytest.fail("nothing is to be run")


@pytest.fixture(scope="module")
def plant_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opening")
    store_of(folder / "store", plant())
    record(folder / "data", plant(), seconds=0.2)
    run_plain(folder / "store", folder / "results", None)
    return folder


@pytest.fixture
def folder(plant_folder: Path, tmp_path: Path) -> Path:
    """A store, its recordings and its results."""
    shutil.copytree(plant_folder, tmp_path / "plant")
    return tmp_path / "plant"


def opened(folder: Path, run: Callable[..., object] = no_run, data: Path | None = None) -> Session:
    return open_session(folder / "store", folder / "results", data=data, who="tester", run=run)


def test_a_page_opens_from_kept_results_and_reads_no_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureStore, "_table", lambda *args: pytest.fail("rows are read"))
    session = opened(folder, data=folder / "data")
    assert (session.path, session.results) == (folder / "store", folder / "results")
    assert (session.data, session.who, session.notes) == (folder / "data", "tester", ())
    assert len(session.items) == 24
    assert session.store.path == folder / "store"
    assert session.marked == {}


def test_missing_results_are_made_first(folder: Path) -> None:
    shutil.rmtree(folder / "results")
    calls, lines = [], []

    def run(*args: object) -> None:
        calls.append(args)
        run_plain(*args)  # type: ignore[arg-type]

    session = open_session(
        folder / "store", folder / "results", data=folder / "data", who="", run=run, say=lines.append
    )
    assert calls == [(folder / "store", folder / "results", folder / "data")]
    assert "the ensemble is run first" in lines[0]
    assert len(session.items) == 24


def test_the_run_of_an_ensemble_makes_results(folder: Path) -> None:
    run_ensemble(folder / "store", folder / "other", None)
    assert len(read_results(folder / "other" / FILE).members) > 1


def test_older_results_name_the_cure(folder: Path) -> None:
    (folder / "results" / FILE).unlink()
    with pytest.raises(DataError, match=rf"no {FILE}.*`detect .*store --recipe .*recipe.toml -o .*results`"):
        opened(folder)
    (folder / "results" / "recipe.toml").unlink()
    with pytest.raises(DataError, match=rf"no {FILE}.*`detect .*store --ensemble -o .*results`"):
        opened(folder)


def test_a_damaged_file_names_itself(folder: Path) -> None:
    path = folder / "results" / FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path} is damaged"):
        opened(folder)


def test_a_folder_that_is_no_store_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "store")
    with pytest.raises(StoreError):
        opened(folder)


def test_results_of_another_embedding_are_refused(folder: Path) -> None:
    shutil.rmtree(folder / "store")
    clips = ClipTable.from_clips(plant())
    rows = np.ones((len(clips), 4), dtype=np.float32)
    import_matrix(folder / "store", "e", rows, clips)
    with pytest.raises(DataError, match=r"results of another store: a member is on the embedding e with fingerprint"):
        opened(folder)
    shutil.rmtree(folder / "store")
    import_matrix(folder / "store", "f", rows, clips)
    with pytest.raises(DataError, match="has no such embedding"):
        opened(folder)


def test_a_store_that_lacks_scored_clips_is_refused(folder: Path) -> None:
    with StoreWriter(folder / "store") as writer:
        writer.remove("e", ["fan/00/test/3.wav", "fan/01/test/5.wav"])
    with pytest.raises(DataError, match=r"lacks 2 clips of 24, first 'fan/00/test/3\.wav'"):
        opened(folder)


def test_a_store_that_lacks_other_clips_has_changed(folder: Path) -> None:
    with StoreWriter(folder / "store") as writer:
        writer.remove("e", ["fan/00/train/3.wav"])
    assert any("was built again since these results" in note for note in opened(folder).notes)


def test_recordings_of_the_last_build_are_found(folder: Path) -> None:
    write_state(folder / "store", BuildState(str(folder / "data"), 72, True))
    assert opened(folder).data == folder / "data"
    shutil.rmtree(folder / "data")
    session = opened(folder)
    assert session.data is None
    assert "no recordings: the folder of the last build" in session.notes[0]
    assert "is no folder" in opened(folder, data=folder / "data").notes[0]


def test_saved_thresholds_decide(folder: Path) -> None:
    plain = opened(folder)
    save_thresholds(folder / "results", {("fan", "00"): 0.01, ("pump", "07"): 0.5}, plain.scored)
    session = opened(folder, data=folder / "data")
    here = session.scored.clips.where(section="00")
    assert session.scored.decision[here].all()
    np.testing.assert_array_equal(session.scored.threshold[~here], plain.scored.threshold[~here])
    assert session.notes == (
        f"1 threshold by hand of {folder / 'results' / THRESHOLDS} decides",
        f"{folder / 'results' / THRESHOLDS}: 1 threshold was set for an earlier run and is not used: "
        "set it again in Threshold (pump/07)",
    )
    save_thresholds(folder / "results", {("fan", "00"): 3.0}, plain.scored)
    with pytest.raises(DataError, match=rf"{THRESHOLDS}: fan section 00: threshold 3: .*; change or remove its line"):
        opened(folder)
    (folder / "results" / THRESHOLDS).write_text("nonsense")
    with pytest.raises(DataError, match=THRESHOLDS):
        opened(folder)


def test_thresholds_of_another_run_decide_nothing(folder: Path) -> None:
    """A score of 0.85 of one ensemble is not one of a single detector."""
    save_thresholds(folder / "results", {("fan", "00"): 0.01}, opened(folder).scored)
    request = RunRequest(detectors=("mahalanobis",))
    outcome = run_to(folder / "store", folder / "results", request, SILENT, OutRequest())
    path = folder / "results" / THRESHOLDS
    said = f"{path} holds thresholds set in the page; this run does not use them; --threshold {path} does"
    assert said in outcome.notes
    session = opened(folder, data=folder / "data")
    assert session.scored.original is None
    assert session.notes == (
        f"{path}: 1 threshold was set for an earlier run and is not used: set it again in Threshold (fan/00)",
    )
    page = TestClient(application(session)).get("/parts/overview").text
    assert "1 threshold was set for an earlier run and is not used: set it again in Threshold." in page


@pytest.mark.parametrize("windows", [False, True])
def test_large_results_open_without_their_rows(tmp_path: Path, windows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store, results = large_results(tmp_path, 4000, windows=windows)
    monkeypatch.setattr(FeatureStore, "_table", lambda *args: pytest.fail("rows are read"))
    session = open_session(store, results, run=no_run)
    assert len(session.scored.clips) == 4000
    assert session.items.reported == sum(item.reported for item in session.items)
