"""Stores with views of a known kind: a pattern shared by all dimensions, or noise."""

from pathlib import Path

import numpy as np

from featstore.clip import Clip
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable


def listed(train: int = 60, label: str = "normal", sections: str = "ab") -> list[Clip]:
    """Clips of two sections; every third is a test clip."""
    return [
        Clip(f"fan/{section}/{i:03d}.wav", "fan", section, "test" if i % 3 == 2 else "train", "source", label)  # type: ignore[arg-type]
        for section in sections
        for i in range(train * 3 // 2)
    ]


def patterned(n: int, d: int = 12, noise: float = 0.2, seed: int = 0) -> np.ndarray:
    """Rows whose dimensions follow two common factors, with noise of their own."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + noise * rng.normal(size=(n, d))


def with_views(
    path: Path, clips: list[Clip], views: dict[str, np.ndarray], name: str = "v", channel: str = ""
) -> FeatureStore:
    X = np.stack(list(views.values()), axis=1).astype(np.float32)
    info = EmbeddingInfo(name, X.shape[1:], "float32", f"made {name}", {}, views=tuple(views), channel=channel)
    with StoreWriter(path) as writer:
        writer.commit([ShardData(info, ClipTable.from_clips(clips), X)])
    return FeatureStore.open(path)
