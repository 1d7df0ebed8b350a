"""A small plant for the tests of the report: two sections, a hostile file name, recordings of tones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from ensemble.recipe import Member, Recipe
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

RATE = 16_000
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'<\\script>\"'&.wav"
RECIPE = Recipe((Member("e", "knn:k=1"), Member("e", "mahalanobis:covariance=ledoit_wolf")))


def plant(label: Callable[[int], str] = lambda i: ("normal", "anomaly")[i % 2]) -> list[Clip]:
    """Two sections of one machine; one test clip has a hostile name."""
    clips = []
    for section in ("00", "01"):
        for i in range(24):
            domain = "target" if i % 6 == 5 else "source"
            clips.append(Clip(f"fan/{section}/train/{i}.wav", "fan", section, "train", domain, "normal"))
        for i in range(12):
            name = HOSTILE if section == "01" and i == 3 else f"{i}.wav"
            domain = ("source", "target")[i // 2 % 2]
            clips.append(Clip(f"fan/{section}/test/{name}", "fan", section, "test", domain, label(i)))
    return clips


def store_of(path: Path, clips: list[Clip]) -> FeatureStore:
    rng = np.random.default_rng(0)
    offset = [[2.0 * (i % 2) * (clip.split == "test")] for i, clip in enumerate(clips)]  # every second test clip
    X = rng.normal(size=(len(clips), 5)) + np.array(offset)
    import_matrix(path, "e", (X + 4).astype(np.float32), ClipTable.from_clips(clips))
    return FeatureStore.open(path)


def record(root: Path, clips: list[Clip], seconds: float = 1.5) -> Path:
    for i, clip in enumerate(clips):
        (root / clip.path).parent.mkdir(parents=True, exist_ok=True)
        t = np.arange(int(seconds * RATE)) / RATE
        sf.write(root / clip.path, 0.1 * np.sin(2 * np.pi * (300 + 20 * i) * t), RATE, format="WAV")
    return root
