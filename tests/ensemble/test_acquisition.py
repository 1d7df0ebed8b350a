"""`detect` says in which sections the scored clips were recorded differently from their bank."""

from pathlib import Path

import numpy as np
import pytest
from acquired import recordings

from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.errors import DataError
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter

KNN = Recipe((Member("e", "knn:k=1"),))
SLOW: dict[str, object] = {"sample_rate_hz": 8000, "n_samples": 80_000}
LOUD: dict[str, object] = {"level_dbfs": 60.0}
SILENT: dict[str, object] = {"outcome": "silent"}


def store_of(path: Path, train: int, test: int, odd: dict[int, dict[str, object]]) -> FeatureStore:
    """A store of random rows with the facts of `recordings`."""
    data = recordings(train, test, odd=odd)
    info = EmbeddingInfo("e", (4,), "float32", "f", channel="0", length="native")
    matrix = np.random.default_rng(0).normal(size=(len(data), 4)).astype(np.float32)
    with StoreWriter(path) as writer:
        return writer.commit([ShardData(info, data.clips, matrix, dict(data.facts))])


def test_a_note_per_section_names_what_differs(tmp_path: Path) -> None:
    copy: dict[str, object] = {"content_hash": "f" * 32}
    store = store_of(tmp_path / "my store", 20, 10, {20: SLOW, 21: LOUD, 0: copy, 22: copy})
    notes = [note for note in detect(store, KNN, workers=0).notes if "featstore check" in note]
    assert notes == [
        "fan 00: 1 of 10 test clips with another sample rate (8000 Hz; training clips 16000 Hz), 1 with another level "
        f"(60 dBFS; training clips -33 to -28 dBFS); see featstore check '{tmp_path / 'my store'}'"
    ]


def test_clips_that_are_ranked_among_themselves_are_compared_with_each_other(tmp_path: Path) -> None:
    detection = detect(store_of(tmp_path / "s", 20, 0, {3: SLOW}), KNN, workers=0)
    assert any(note.startswith("fan 00: 1 of 20 clips with another sample rate") for note in detection.notes)


def test_clean_recordings_have_no_note(tmp_path: Path) -> None:
    detection = detect(store_of(tmp_path / "s", 20, 10, {}), KNN, workers=0)
    assert not any("featstore check" in note for note in detection.notes)


def test_silent_training_clips_are_the_reason_why_there_are_none(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", 5, 2, dict.fromkeys(range(5), SILENT))
    with pytest.raises(DataError, match="5 training clips are silent in the channel that was embedded"):
        detect(store, KNN, workers=0)
