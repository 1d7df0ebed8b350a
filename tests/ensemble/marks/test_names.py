"""Clips by key or by unique file name; misspelt names are answered with the nearest."""

from pathlib import Path

import numpy as np
import pytest

from ensemble.marks import names as module
from ensemble.marks.names import marked_key
from featstore.clip import Clip
from featstore.errors import DataError
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    paths = ["fan/a.wav", "fan/b.wav", "pump/b.wav", "long.wav#t=0,10", "long.wav#t=10,20", "pump/hour.wav"]
    clips = [Clip(path, "fan", "00", "train", "source", "normal") for path in paths]
    clips.append(Clip("fan/a.wav", "fan", "00", "train", "source", "anomaly", variant="leak@0dB#1"))
    import_matrix(tmp_path / "s", "e", np.ones((len(clips), 3), dtype=np.float32), ClipTable.from_clips(clips))
    return FeatureStore.open(tmp_path / "s")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fan/a.wav", "fan/a.wav"),
        ("a.wav", "fan/a.wav"),
        ("D:\\elsewhere\\a.wav", "fan/a.wav"),
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
        ("b.wav", "fits 2 recordings, as 'fan/b.wav'"),
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
