"""Stores of every version stay readable, and FORMAT.md suffices to read one."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from places import DATA
from sample_store import INFO, clip, content, path_of, rejection, rows, shard

from featstore.disk.shard import OPTIONAL
from featstore.store import EmbeddingInfo, FeatureStore, StoreWriter
from featstore.table import ClipTable
from featstore.upkeep.verify import notes, verify

VIEWS = EmbeddingInfo("bands", (2, 3), "float16", "e" * 64, {}, ("low", "high"), 8000, "mean", "crop 2 s")


def make(root: Path) -> None:
    """The content of every golden store: two embeddings, a replaced row, a removed one, live and cleared rejections."""
    odd = replace(clip(5), path="e\u0301 \udcff.wav", variant="clipping 0.5 1", attributes={})
    with StoreWriter(root) as writer:
        writer.commit([shard([1, 2, 3], rejected=[4, 9])])
        writer.commit([shard([2, 4], offset=100.0)])
        writer.remove("twfr", [path_of(3)])
        writer.commit([replace(shard([5], info=VIEWS), clips=ClipTable.from_clips([odd]))])


@pytest.mark.parametrize("root", sorted(DATA.glob("golden_store_v*")), ids=lambda root: root.name)
def test_stores_of_every_version_are_still_read(root):
    store = FeatureStore.open(root)
    assert dict(store.embeddings) == {"twfr": INFO, "bands": VIEWS}
    assert list(store.clips("twfr")) == [clip(1), clip(2), clip(4)]
    np.testing.assert_array_equal(store.matrix("twfr"), np.concatenate([rows([1]), rows([2, 4]) + 100]))
    facts = store.facts("twfr")
    assert all(np.isnan(facts.pop(name)).all() for name in OPTIONAL), "measured since 0.1.0"
    assert {name: values.tolist() for name, values in facts.items()} == {
        "size_bytes": [100, 200, 400],
        "mtime_ns": [1, 2, 4],
        "content_hash": [b""] * 3,
        "sample_rate_hz": [0] * 3,
        "n_samples": [0] * 3,
        "channels": [0] * 3,
        "outcome": [b""] * 3,
    }
    assert store.rejected("twfr") == [rejection(9)]
    [odd] = store.clips("bands")
    assert (odd.path, odd.variant, odd.attributes) == ("e\u0301 \udcff.wav", "clipping 0.5 1", {})
    np.testing.assert_array_equal(store.matrix("bands"), rows([5], VIEWS))
    assert verify(root) == notes(root) == []


def test_a_new_store_equals_the_golden_one(tmp_path):
    make(tmp_path / "store")
    new, golden = FeatureStore.open(tmp_path / "store"), FeatureStore.open(DATA / "golden_store_v1")
    assert content(new) == content(golden)
    for name in golden.embeddings:
        np.testing.assert_array_equal(new.matrix(name), golden.matrix(name))
        assert list(new.clips(name)) == list(golden.clips(name))
    parts = [
        [
            (entry.file[:16], entry.file.partition("-")[2], entry.dropped, entry.cleared)
            for entry in store.manifest.shards
        ]
        for store in (new, golden)
    ]
    assert parts[0] == parts[1], "names of today also hold a part of the checksum"


def read_as_format_md_says(root: Path, name: str) -> dict[str, list[float]]:
    """A reader written from FORMAT.md only."""
    raw = json.loads(max((root / "manifest").glob("*.json")).read_bytes())
    checksum = raw.pop("checksum")
    assert hashlib.sha256(json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == checksum
    assert (raw["format"], raw["version"]) == ("featstore-manifest", 1)
    vectors = {}
    for entry in raw["shards"]:
        path = root / "shards" / entry["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        with h5py.File(path, "r") as file:
            for row, (key, values) in enumerate(zip(file["clip/path"], file["embedding"], strict=True)):
                if entry["embedding"] == name and row not in entry["dropped"]:
                    vectors[key.decode()] = values.tolist()
    return vectors


def test_format_md_suffices_to_read_a_store():
    store = FeatureStore.open(DATA / "golden_store_v1")
    expected = dict(zip(store.clips("twfr").keys(), store.matrix("twfr").tolist(), strict=True))
    assert read_as_format_md_says(store.path, "twfr") == expected
