"""Clips by key or by unique file name; misspelt names are answered with the nearest."""

from pathlib import Path

import numpy as np
import pytest

from ensemble.marks import names as module
from ensemble.marks.names import marked_key
from featstore.building.state import BuildState, write_state
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.embeddings import import_matrix
from featstore.layouts.names import several
from featstore.store import FeatureStore
from featstore.table import ClipTable


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    paths = ["fan/a.wav", "fan/b.wav", "pump/b.wav", "long.wav#t=0,10", "long.wav#t=10,20", "pump/hour.wav"]
    paths += ["deep/plant/pump/c.wav", "pump/d.wav", "deep/pump/d.wav"]
    clips = [Clip(path, "fan", "00", "train", "source", "normal") for path in paths]
    clips.append(Clip("fan/a.wav", "fan", "00", "train", "source", "anomaly", variant="leak@0dB#1"))
    import_matrix(tmp_path / "s", "e", np.ones((len(clips), 3), dtype=np.float32), ClipTable.from_clips(clips))
    return FeatureStore.open(tmp_path / "s")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fan/a.wav", "fan/a.wav"),
        ("a.wav", "fan/a.wav"),
        ("D:\\elsewhere\\fan\\a.wav", "fan/a.wav"),
        ("recordings/fan/a.wav", "fan/a.wav"),
        ("./recordings/../fan/a.wav", "fan/a.wav"),
        ("../recordings/fan/b.wav", "fan/b.wav"),
        ("../a.wav", "fan/a.wav"),
        ("c.wav", "deep/plant/pump/c.wav"),
        ("plant/pump/c.wav", "deep/plant/pump/c.wav"),
        ("x/pump/d.wav", "pump/d.wav"),
        ("root/deep/pump/d.wav", "deep/pump/d.wav"),
        ("long.wav#t=0,10", "long.wav#t=0,10"),
        ("long.wav", "long.wav"),
        ("elsewhere/long.wav", "long.wav"),
    ],
)
def test_a_clip_is_named_by_key_or_unique_file_name(store: FeatureStore, name: str, key: str) -> None:
    assert marked_key(store, name) == key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.wav", "fits 2 recordings: 'fan/b.wav', 'pump/b.wav'; give a path"),
        ("pump/a.wav", "is no recording"),
        ("pump/fan/c.wav", "is no recording"),
        ("an/a.wav", "is no recording"),
        ("/plant/pump/c.wav", "is no recording"),
        ("fan/aa.wav", r"is no recording of .*; did you mean fan/a.wav\?"),
        ("hours.wav", r"did you mean hour.wav\?"),
        ("fan/a.wav::leak@0dB#1", "is no recording"),
        ("", "is no recording"),
    ],
)
def test_other_names_are_answered_with_what_to_do(store: FeatureStore, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        marked_key(store, name)


def test_few_keys_are_compared(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARED", 1)
    with pytest.raises(DataError, match=r"did you mean pump/hour.wav\?"):
        marked_key(store, "pump/houur.wav")


def test_a_file_that_is_another_recording_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip("normal/20.wav", "fan", "00", "train", "source", "normal")
    import_matrix(tmp_path / "s", "e", np.ones((1, 3), dtype=np.float32), ClipTable.from_clips([clip]))
    for folder, content in (("fan", b"fan"), ("bearing", b"bea"), ("copy", b"fan")):
        (tmp_path / folder / "normal").mkdir(parents=True)
        (tmp_path / folder / "normal" / "20.wav").write_bytes(content)
    write_state(tmp_path / "s", BuildState(str(tmp_path / "fan"), 1, finished=True))
    monkeypatch.chdir(tmp_path)
    store = FeatureStore.open(tmp_path / "s")
    for name in ("fan/normal/20.wav", "copy/normal/20.wav", "elsewhere/normal/20.wav", "normal/20.wav"):
        assert marked_key(store, name) == "normal/20.wav"
    with pytest.raises(DataError, match=r"'bearing/normal/20.wav' is another file than 'normal/20.wav'"):
        marked_key(store, "bearing/normal/20.wav")


def test_few_candidates_are_listed() -> None:
    assert several(["a/1", "b/1", "c/1", "d/1"], "clips") == "fits 4 clips: 'a/1', 'b/1', 'c/1' and 1 more"
