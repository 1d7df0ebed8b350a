"""Small stores of given rows for fitted recipes: two machines with two sections and two domains, in two embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ensemble.fitting.fit import fit
from ensemble.fitting.fitted import Fitted
from ensemble.recipe import Member, Recipe
from ensemble.run import Detection
from ensemble.scoring.file import read_model, write_model
from ensemble.scoring.stored import from_stored, to_stored
from featstore.clip import Clip
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable, encode

D = 12
VIEWS = ("low", "high")
KNN, MAHALANOBIS = "knn:k=2", "mahalanobis:covariance=ledoit_wolf"
MEMBERS = (Member("v", KNN, "low"), Member("v", MAHALANOBIS), Member("h", KNN))
INFOS = {
    "v": EmbeddingInfo("v", (2, D), "float32", "f" * 64, {}, views=VIEWS, length="native", channel="0"),
    "h": EmbeddingInfo("h", (D,), "float16", "a" * 64, {}, length="native", channel="0"),
}


def listed(train: int = 24, test: int = 6, machines: Sequence[str] = ("fan", "pump")) -> list[Clip]:
    """Clips of two sections of every machine; every fourth is a target clip, every second test clip an anomaly."""
    return [
        Clip(
            f"{machine}/{split}/section_{section}_{i:03d}.wav",
            machine,
            section,
            split,  # type: ignore[arg-type]
            ("source", "target")[i % 4 == 3],
            ("normal", "anomaly")[split == "test" and i % 2],
            {"speed": ("slow", "fast")[i % 2], "day": f"2024-01-{1 + i // 5:02d}"},
        )
        for machine in machines
        for section in ("00", "01")
        for split, n in (("train", train), ("test", test))
        for i in range(n)
    ]


def variants(clips: Sequence[Clip]) -> list[Clip]:
    """A generated anomaly of every clip."""
    return [
        Clip(c.path, c.machine, c.section, c.split, c.domain, "anomaly", c.attributes, f"leak@0dB#{i}")
        for i, c in enumerate(clips)
    ]


def rows_of(clips: Sequence[Clip], seed: int = 0) -> dict[str, np.ndarray]:
    """Rows (n, *shape) of both embeddings: sections and domains have centres of their own, anomalies are far away.

    The row of a clip depends on its key and the seed alone.
    """
    views = np.empty((len(clips), 2, D))
    for i, clip in enumerate(clips):
        place = [ord(letter) for letter in f"{clip.machine}{clip.section}"]
        own = np.random.default_rng([seed, *clip.key.encode()])
        views[i] = 3 * np.random.default_rng(place).normal(size=(2, D)) + own.normal(size=(2, D))
        views[i, :, 0] += 4.0 * (clip.domain == "target")
        views[i, :, 1] += 3.0 * (clip.label == "anomaly")
    return {"v": views.astype(np.float32), "h": (0.5 * views.mean(axis=1)).astype(np.float16)}


def store_of(path: Path, clips: Sequence[Clip], seed: int = 0, known: bool = True, **info: object) -> FeatureStore:
    """A store of both embeddings; every recording has a content of its own, unless contents are not known."""
    rows = rows_of(clips, seed)
    facts = {
        "content_hash": encode([f"hash of {clip.recording}" if known and not clip.variant else "" for clip in clips]),
        "sample_rate_hz": np.full(len(clips), 16000),
        "n_samples": np.full(len(clips), 32000),
    }
    with StoreWriter(path) as writer:
        writer.commit(
            [
                ShardData(replace(INFOS[name], **info), ClipTable.from_clips(clips), rows[name], facts, [])  # type: ignore[arg-type]
                for name in rows
            ]
        )
    return FeatureStore.open(path)


def in_store(store: FeatureStore, clips: ClipTable) -> dict[str, np.ndarray]:
    """Rows of clips in every embedding of a store."""
    rows, keys = {}, clips.keys()
    for name in store.embeddings:
        place = {key: i for i, key in enumerate(store.clips(name).keys())}
        rows[name] = store.matrix(name)[[place[key] for key in keys]]
    return rows


def through_file(fitted: Fitted, folder: Path) -> Fitted:
    """The fitted recipe after it was written to a file and read again."""
    meta, arrays = to_stored(fitted)
    write_model(folder / "a.model", meta, arrays)
    return from_stored(*read_model(folder / "a.model"))


def fitted_of(store: FeatureStore, recipe: Recipe, folder: Path) -> Fitted:
    """The recipe fitted to a store, from a file."""
    return through_file(fit(store, recipe, workers=0)[0], folder)


COLUMNS = ("score", "percentile", "nearest_distance", "reference")


def assert_same(detection: Detection, expected: Detection, atol: float = 1e-9) -> None:
    """Both detections hold the same numbers and texts about the same clips."""
    assert detection.clips.keys() == expected.clips.keys()
    columns: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        **{name: (getattr(detection, name), getattr(expected, name)) for name in COLUMNS},
        **{
            name: (getattr(detection.decided, name), getattr(expected.decided, name))
            for name in ("p_value", "threshold")
        },
        "members": (detection.member_percentiles, expected.member_percentiles),
    }
    for name, pair in columns.items():
        np.testing.assert_allclose(*pair, rtol=atol, atol=atol, err_msg=name)
    np.testing.assert_array_equal(detection.decision, expected.decision)
    assert detection.nearest == expected.nearest
    assert (detection.domains is None) == (expected.domains is None)
    if detection.domains and expected.domains:
        np.testing.assert_allclose(detection.domains.scored, expected.domains.scored, rtol=0, atol=atol)
