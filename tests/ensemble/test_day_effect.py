"""The note on days that are not used, and its number by brute force."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

RECIPE = Recipe((Member("e", "knn"),), false_alarm_rate=0.2)


def notes(path: Path, names: list[str], X: np.ndarray, recipe: Recipe = RECIPE) -> list[str]:
    clips = [Clip(f"fan/{name}.wav", "fan", "00", "train", "source", "normal") for name in names]
    clips.append(Clip("fan/20300101.wav", "fan", "00", "test"))
    import_matrix(path, "e", np.concatenate([X, X[:1]]).astype(np.float32), ClipTable.from_clips(clips))
    return [note for note in detect(FeatureStore.open(path), recipe).notes if "--group" in note]


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    """Sixty clips of three days that differ."""
    return np.repeat(0.7 * rng.normal(size=(3, 8)), 20, axis=0) + 0.7 * rng.normal(size=(60, 8))


NAMES = [f"2024010{i // 20 + 1}_{i}" for i in range(60)]


def test_the_note_states_what_other_days_exceed(tmp_path: Path, X: np.ndarray) -> None:
    (note,) = notes(tmp_path / "s", NAMES, X)
    assert note.startswith("the training clips of one section are of 3 days")
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    threshold = np.sort(distance.min(axis=1))[48]  # the 49th of 60: 61 * 0.8 rounded up
    distance[np.repeat(np.arange(3), 20)[:, None] == np.repeat(np.arange(3), 20)] = np.inf
    share = (distance.min(axis=1) > threshold).mean()
    assert 0.3 < share < 0.95, "else the data shows nothing"
    stated = re.search(r"the threshold for 20 % is exceeded by (\d+) % of the clips", note)
    assert stated is not None
    assert int(stated[1]) == round(100 * share)


def test_no_note_where_there_is_nothing_to_change(tmp_path: Path, X: np.ndarray) -> None:
    used = notes(tmp_path / "used", NAMES, X, replace(RECIPE, group="day"))
    assert not any("leaves out whole days" in note for note in used)
    assert notes(tmp_path / "one day", [f"20240101_{i}" for i in range(60)], X) == []
    assert notes(tmp_path / "a day each", [f"2024{1 + i // 20:02d}{1 + i % 20:02d}" for i in range(60)], X) == []
    assert notes(tmp_path / "one without", [*NAMES[:-1], "x"], X) == []
