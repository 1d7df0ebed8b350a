"""A store with two sections of normal clips and generated anomalies, which only one view of the embedding shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sample_store import make_store

from ensemble.recipe import Member
from ensemble.selection.candidates import expand
from featstore.clip import Clip
from featstore.store import EmbeddingInfo, FeatureStore, ShardData
from featstore.table import ClipTable, encode

DIM = 6
VIEWS = ("good", "blind", "deaf", "dumb")
SEVERITIES = (-10, 0)
TRANSFORMS = ("leak", "impacts", "squeal", "shuffled")
TABLES = [{"name": "knn", "k": [1, 3]}, {"name": "mahalanobis", "standardize": [False, True]}, {"name": "lof", "k": 5}]


def recordings(per_section: int = 20, targets: int = 4) -> list[Clip]:
    """Normal training clips of sections 00 and 01, the last `targets` of each from the target domain."""
    return [
        Clip(
            f"fan/train/s{s}_{i:03d}.wav",
            "fan",
            f"0{s}",
            "train",
            "target" if i >= per_section - targets else "source",
            "normal",
        )
        for s in range(2)
        for i in range(per_section)
    ]


def variants(clips: Sequence[Clip]) -> list[Clip]:
    """Every transform at every severity of every clip."""
    return [
        Clip(c.path, c.machine, c.section, "train", c.domain, "anomaly", variant=f"{name}@{severity}dB#{seed}")
        for seed, c in enumerate(clips)
        for name in TRANSFORMS
        for severity in SEVERITIES
    ]


def labelled(per_section: int = 16) -> list[Clip]:
    """Labelled test clips, half of them anomalies, both domains."""
    return [
        Clip(
            f"fan/test/s{s}_{i:03d}.wav",
            "fan",
            f"0{s}",
            "test",
            "target" if i % 4 < 2 else "source",
            "anomaly" if i % 2 else "normal",
        )
        for s in range(2)
        for i in range(per_section)
    ]


def embeddings(clips: Sequence[Clip], rng: np.random.Generator) -> np.ndarray:
    """(n, views, d): noise; in the view "good" anomalies are displaced, in the others they are not.

    No view shows `shuffled`, so that transform does not separate the views.
    """
    X = rng.normal(size=(len(clips), len(VIEWS), DIM)).astype(np.float32)
    for i, clip in enumerate(clips):
        severity = float(clip.variant.partition("@")[2].partition("dB")[0]) if clip.variant else 0.0
        if clip.label == "anomaly" and not clip.variant.startswith("shuffled"):
            X[i, 0, i % DIM] += 3.5 + severity / 20
    return X


def selection_store(root: Path, clips: Sequence[Clip] | None = None, name: str = "emb") -> FeatureStore:
    """The store; content hashes are all different."""
    if clips is None:
        clips = [*recordings(), *variants(recordings()), *labelled()]
    info = EmbeddingInfo(name, (len(VIEWS), DIM), "float32", "f" * 64, views=VIEWS, sample_rate_hz=16000)
    X = embeddings(clips, np.random.default_rng(0))
    facts = {"content_hash": encode([f"hash of {clip.path}" for clip in clips])}
    return make_store(root, ShardData(info, ClipTable.from_clips(clips), X, facts, []))


def members_of(store: FeatureStore) -> list[Member]:
    """A few detectors on every view of the store."""
    return [Member("emb", spec, view) for view in store.info("emb").views for spec in expand(TABLES, "test")]
