"""Small stores of given vectors, and the expected results of an archive run, computed by brute force."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from plain_neighbours import distances

from ensemble.decision.calibrate import position
from featstore.clip import Clip
from featstore.store import EmbeddingInfo, ShardData, StoreWriter
from featstore.table import ClipTable

D = 6
INFO = EmbeddingInfo("x", (D,), "float32", "f" * 64, {}, (), 16000, "0", "native")


def clips(n: int, prefix: str, *, split: str = "train", label: str = "normal", parts: int = 4) -> list[Clip]:
    """Clips of two machines with two sections each, in turn."""
    return [
        Clip(f"{prefix}/{i:05d}.wav", ("fan", "valve")[i % parts % 2], f"{i % parts // 2:02d}", split, "source", label)
        for i in range(n)
    ]


def add(root: Path, of: Sequence[Clip], X: np.ndarray, *, hashes: str = "", per_shard: int = 40, **info: Any) -> Path:
    """Append clips with their vectors to a store; content hashes are `hashes` and the path."""
    with StoreWriter(root) as writer:
        for start in range(0, len(of), per_shard):
            some = of[start : start + per_shard]
            facts = {"content_hash": np.array([hashes + clip.path if hashes else "" for clip in some])}
            table = ClipTable.from_clips(some)
            data = ShardData(replace(INFO, **info), table, X[start : start + per_shard], facts)
            writer.commit([data])
    return root


def results(out: Path) -> list[dict[str, Any]]:
    """Every row of the results, in order."""
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def content(out: Path) -> list[tuple[str, Any]]:
    """The results as tuples; they do not depend on how the units were cut."""
    return [tuple(row.items()) for row in results(out)]


def expected(
    bank: Sequence[Clip], B: np.ndarray, of: Sequence[Clip], X: np.ndarray, k: int, per=("machine", "section")
):
    """Score, percentile, neighbour keys and distances of every clip; a bank clip with the same key is excluded."""
    plain = {}
    for clip, row in zip(of, X, strict=True):
        part = [getattr(clip, name) for name in per]
        at = sorted(
            (i for i, other in enumerate(bank) if [getattr(other, name) for name in per] == part),
            key=lambda i: bank[i].path.encode(),
        )
        keys, rows = [bank[i].path for i in at], B[at]
        every = distances(row[None], rows)[0]
        every[[key == clip.path for key in keys]] = np.inf
        nearest = np.argsort(every, kind="stable")[:k]
        own = distances(rows, rows)
        np.fill_diagonal(own, np.inf)
        reference = np.sort(own, axis=1)[:, :k].mean(axis=1)
        score = every[nearest].mean()
        plain[clip.path] = (
            score,
            position(np.array([score]), reference)[0],
            [keys[i] for i in nearest],
            every[nearest],
        )
    return plain


def check(rows: list[dict[str, Any]], plain: dict[str, Any]) -> None:
    """Assert that the results equal the expected ones, clip by clip."""
    assert [row["clip"] for row in rows] == list(plain)
    for row in rows:
        score, percentile, keys, distance = plain[row["clip"]]
        k = len(keys)
        assert [row[f"neighbour_{i + 1}"] for i in range(k)] == keys
        np.testing.assert_allclose([row[f"distance_{i + 1}"] for i in range(k)], distance, rtol=0, atol=1e-12)
        np.testing.assert_allclose(row["score"], score, rtol=0, atol=1e-12)
        np.testing.assert_allclose(row["percentile"], percentile, rtol=0, atol=1e-6)
