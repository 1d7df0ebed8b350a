"""Windows of recordings, and small stores of them in which equal content hashes mark the windows of a recording."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featstore.clip import Clip, window_path
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable, encode

RATE_HZ = 16_000
D = 6


def windows(recording: Clip, count: int, *, seconds: float = 10, hop_s: float = 10) -> list[Clip]:
    """The first windows of a recording, one after the other."""
    starts = [hop_s * i for i in range(count)]
    return [replace(recording, path=window_path(recording.path, start, start + seconds)) for start in starts]


def recording(path: str, label: str = "normal", *, machine: str = "fan", section: str = "00") -> Clip:
    """A recording in the split that its path names."""
    split = "test" if "/test/" in path else "train"
    return Clip(path, machine, section, split, "source", label)


def plant(train: int = 4, test: int = 6, count: int = 12, *, machine: str = "fan", hop_s: float = 10) -> list[Clip]:
    """Windows of normal training recordings, and of test recordings of which every second is an anomaly."""
    names = [(f"{machine}/train/{i}.wav", "normal") for i in range(train)]
    names += [(f"{machine}/test/{i}.wav", ("normal", "anomaly")[i % 2]) for i in range(test)]
    clips = [recording(path, label, machine=machine) for path, label in names]
    return [window for clip in clips for window in windows(clip, count, hop_s=hop_s)]


def vectors(clips: Sequence[Clip], *, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    """Windows near the centre of their recording; those of anomalies from 20 s to 50 s are displaced."""
    rng = np.random.default_rng(seed)
    names = sorted({clip.recording for clip in clips})
    centres = dict(zip(names, 5 + spread * rng.normal(size=(len(names), D)), strict=True))
    X = np.array([centres[clip.recording] for clip in clips]) + rng.normal(0, 0.3, (len(clips), D))
    for row, clip in zip(X, clips, strict=True):
        if clip.label == "anomaly" and (clip.window is None or 20 <= clip.window.start_s < 50):
            row[0] += 8
    return X.astype(np.float32)


def window_store(
    path: Path, clips: Sequence[Clip], X: np.ndarray | None = None, *, hashed: bool = True
) -> FeatureStore:
    """The store, with a length of 120 s for every recording."""
    facts = {
        "content_hash": encode(f"hash of {clip.recording}" if hashed else "" for clip in clips),
        "n_samples": np.full(len(clips), 120 * RATE_HZ),
        "sample_rate_hz": np.full(len(clips), RATE_HZ),
    }
    info = EmbeddingInfo("e", (D,), "float32", "f", sample_rate_hz=RATE_HZ)
    with StoreWriter(path) as writer:
        writer.commit([ShardData(info, ClipTable.from_clips(clips), vectors(clips) if X is None else X, facts)])
    return FeatureStore.open(path)
