"""The recordings of a store most like one: by brute force, from a file or a clip, whole or in windows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scored_plant import Plant, built, record
from window_store import plant as window_plant
from window_store import window_store

from ensemble.scoring import neighbours as module
from ensemble.scoring.neighbours import Search, neighbours, rows_of
from featstore.audio.policy import AudioPolicy
from featstore.errors import DataError, RequestError
from featstore.store import FeatureStore, StoreWriter


@pytest.fixture(scope="module", autouse=True)
def _unsynced(unsynced: None) -> None:
    pass


def distances(store: FeatureStore, name: str, view: int | None, row: int) -> np.ndarray:
    X = store.matrix(name)
    X = (X if view is None else X[:, view]).reshape(len(X), -1).astype(np.float64)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(1 - unit @ unit[row])


@pytest.mark.parametrize("source", ["logmel@mean", "logmel", "twfr@r0.9", ""])
def test_a_clip_and_its_file_have_the_nearest_by_cosine(plant: Plant, source: str, tmp_path: Path) -> None:
    name, _, view = (source or "logmel@mean").partition("@")
    views = plant.store.info(name).views
    keys = plant.store.clips(name).keys()
    expected = distances(plant.store, name, views.index(view) if view else None, 3)
    order = [i for i in np.argsort(expected, kind="stable") if i != 3][:5]
    search = Search(embedding=source, k=5)
    by_key = neighbours(plant.store, keys[3], search)
    assert [row.clip.key for row in by_key] == [keys[i] for i in order]
    np.testing.assert_allclose([row.distance for row in by_key], expected[order], rtol=0, atol=1e-6)
    assert (by_key[0].start_s, by_key[0].end_s, by_key[0].query) == (0.0, 0.6, None)
    shutil.copy(plant.root / keys[3], tmp_path / "copy.wav")
    by_file = neighbours(plant.store, str(tmp_path / "copy.wav"), Search(embedding=source, k=6))
    assert by_file[0].clip.key == keys[3], "a file may be in the store"
    assert by_file[0].distance == pytest.approx(0, abs=1e-6)
    assert [row.clip.key for row in by_file[1:]] == [keys[i] for i in order]


def test_copies_and_other_windows_of_a_clip_are_left_out(plant: Plant, tmp_path: Path) -> None:
    root = record(tmp_path / "data", train=3, test=0, seconds=2.5)
    first = sorted(root.glob("fan/train/*.wav"))[0]
    shutil.copy(first, first.with_name(first.name.replace("0000", "0099")))
    store = built(root, tmp_path / "s", {"logmel": "logmel"}, AudioPolicy(length="window:1,0.5"))
    key = first.relative_to(root).as_posix()
    rows = neighbours(store, key, Search(k=100))
    recordings = [row.clip.recording for row in rows]
    assert len(recordings) == len(set(recordings)) == 8, "one row per recording"
    assert not any("0099" in recording for recording in recordings)
    assert key not in recordings
    assert all(row.query is not None for row in rows)
    one = neighbours(store, f"{key}#t=0.5,1.5", Search(k=100))
    assert {row.query for row in one} == {(0.5, 1.5)}
    assert all(
        a.distance <= b.distance + 1e-9
        for a, b in zip(
            sorted(rows, key=lambda r: r.clip.recording), sorted(one, key=lambda r: r.clip.recording), strict=True
        )
    )


def test_only_some(plant: Plant) -> None:
    key = plant.store.clips("logmel").keys()[0]
    rows = neighbours(plant.store, key, Search(k=100, machine="pump", split="test"))
    assert {(row.clip.machine, row.clip.split) for row in rows} == {("pump", "test")}
    assert len(rows) == 4
    with pytest.raises(DataError, match="no other recordings of this machine and split"):
        neighbours(plant.store, key, Search(machine="valve"))


@pytest.mark.parametrize(
    ("recording", "embedding", "words"),
    [
        ("nowhere.wav", "", "nowhere.wav: neither a clip of the store nor a file"),
        ("nowhere.wav", "logmle", r"no embedding 'logmle'; it has logmel, twfr; did you mean logmel\?"),
        ("nowhere.wav", "logmel@men", "logmel has no view 'men'; it has mean"),
    ],
)
def test_mistakes_name_what_there_is(plant: Plant, recording: str, embedding: str, words: str) -> None:
    with pytest.raises((DataError, RequestError), match=words):
        neighbours(plant.store, recording, Search(embedding=embedding))


def test_a_file_that_is_no_sound(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match=rf"{tmp_path}/a\.wav: "):
        neighbours(plant.store, str(tmp_path / "a.wav"), Search())


def test_an_empty_store_and_imported_rows(plant: Plant, tmp_path: Path) -> None:
    from fitted_plant import listed, store_of

    with StoreWriter(tmp_path / "empty"):
        pass
    with pytest.raises(RequestError, match="no embeddings; fill it"):
        neighbours(FeatureStore.open(tmp_path / "empty"), "a", Search())
    store = store_of(tmp_path / "s", listed(4, 2))
    with pytest.raises(DataError, match="its config alone does not make its embedder"):
        neighbours(store, str(plant.files()[0]), Search(embedding="h"))


@pytest.mark.parametrize("source", ["logmel@mean", "logmel", "twfr@r0.9", ""])
def test_rows_that_are_read_once_serve_many_searches(
    plant: Plant, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    rows = rows_of(plant.store, source)
    rows.matrix.flags.writeable = False
    searches = [Search(embedding=source, k=4), Search(embedding=source, k=3, machine="pump", split="test")]
    keys = rows.keys[[0, 5]].tolist()
    expected = [neighbours(plant.store, key, search) for key in keys for search in searches]
    monkeypatch.setattr(module, "rows_of", lambda *_: pytest.fail("the rows were at hand"))
    assert [neighbours(plant.store, key, search, rows) for key in keys for search in searches] == expected
    assert rows.of(keys[1]).tolist() == [5]
    assert rows.of("nowhere.wav").tolist() == []


def test_windows_of_the_same_recording_are_left_out_without_content_hashes(tmp_path: Path) -> None:
    store = window_store(tmp_path / "s", window_plant(2, 2), hashed=False)
    rows = neighbours(store, "fan/test/0.wav#t=20,30", Search(embedding="e", k=10))
    assert {row.clip.recording for row in rows} == {"fan/train/0.wav", "fan/train/1.wav", "fan/test/1.wav"}
