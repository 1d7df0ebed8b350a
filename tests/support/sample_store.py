"""Small shards and stores for tests; every value is derived from the number of its clip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featstore.clip import Clip
from featstore.store import EmbeddingInfo, FeatureStore, Rejection, ShardData, StoreWriter
from featstore.table import ClipTable

INFO = EmbeddingInfo(
    name="twfr",
    shape=(4,),
    dtype="float32",
    fingerprint="f" * 64,
    config={"r": [0.9, 1.0], "n_mels": 128},
    sample_rate_hz=16000,
    channel="0",
    length="native",
)


def path_of(number: int) -> str:
    return f"fan/train/section_00_{number:04d}.wav"


def clip(number: int) -> Clip:
    return Clip(path_of(number), "fan", f"{number % 3:02d}", "train", "source", "normal", {"speed": str(number)})


def rows(numbers: Sequence[int], info: EmbeddingInfo = INFO) -> np.ndarray:
    """Row of clip i: i, i + 0.25, i + 0.5, ... in the shape of the embedding."""
    size = int(np.prod(info.shape))
    matrix = np.asarray(numbers, dtype=np.float32)[:, None] + np.arange(size, dtype=np.float32) / 4
    return matrix.reshape(-1, *info.shape)


def rejection(number: int, reason: str = "silent") -> Rejection:
    return Rejection(path_of(number), reason, size_bytes=10 + number, mtime_ns=number)


def shard(
    numbers: Sequence[int], rejected: Sequence[int] = (), info: EmbeddingInfo = INFO, offset: float = 0.0
) -> ShardData:
    count = np.asarray(numbers, dtype=np.int64)
    return ShardData(
        info=info,
        clips=ClipTable.from_clips([clip(number) for number in numbers]),
        matrix=rows(numbers, info) + np.float32(offset),
        facts={"size_bytes": count * 100, "mtime_ns": count},
        rejected=[rejection(number) for number in rejected],
    )


def make_store(root: Path, *shards: ShardData) -> FeatureStore:
    with StoreWriter(root) as writer:
        return writer.commit(shards)


def store_of_two_commits(root: Path) -> Path:
    """A store with the manifests 1 (empty), 2 and 3."""
    with StoreWriter(root) as writer:
        writer.commit([shard([1])])
        writer.commit([shard([2])])
    return root


def content(store: FeatureStore, name: str = "twfr") -> dict[str, float]:
    """First value of every row by key, and -1 for every rejection; equal for equal stores."""
    if name not in store.embeddings:
        return {}
    first = store.matrix(name)[:, 0].tolist()
    return dict(zip(store.clips(name).keys(), first, strict=True)) | {
        rejected.key: -1.0 for rejected in store.rejected(name)
    }
