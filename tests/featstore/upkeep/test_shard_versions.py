"""Shards of version 1 and 2 beside each other, and those of a newer program, which are not damaged."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from sample_store import content, path_of, shard

from featstore.disk.publish import publish
from featstore.disk.shard import NewerShard, ShardData
from featstore.errors import StoreError
from featstore.exchange.embeddings import export
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.compact import compact
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import verify

ROWS = {path_of(1): 1.0, path_of(2): 2.0, path_of(3): 3.0}


def measured(number: int, peak: float) -> ShardData:
    data = shard([number])
    return replace(data, facts={**data.facts, "peak": np.array([peak], np.float32)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Clip 1 in a shard of version 1, clips 2 and 3 in shards of version 2."""
    root = tmp_path / "store"
    with StoreWriter(root) as writer:
        writer.commit([shard([1]), measured(2, 0.25), measured(3, 0.5)])
    assert versions(root) == [1, 2, 2]
    return root


def versions(root: Path) -> list[int]:
    found = []
    for entry in FeatureStore.open(root).entries("twfr"):
        with h5py.File(root / "shards" / entry.file) as file:
            found.append(int(file.attrs["version"]))
    return found


def rewrite(root: Path, index: int, change: Callable[[h5py.File], object]) -> Path:
    """Change a shard and publish it with its right checksum, as another program would."""
    store = FeatureStore.open(root)
    entries = list(store.manifest.shards)
    path = root / "shards" / entries[index].file
    buffer = io.BytesIO(path.read_bytes())
    with h5py.File(buffer, "r+") as file:
        change(file)
    image = buffer.getvalue()
    path.write_bytes(image)
    entries[index] = replace(entries[index], bytes=len(image), sha256=hashlib.sha256(image).hexdigest())
    publish(root, store.manifest, tuple(entries), store.embeddings)
    return path


def newer(file: h5py.File) -> None:
    file.attrs.modify("version", 3)
    file.create_dataset("clip/humidity", data=np.zeros(1, "f8"))


def unknown_member(file: h5py.File) -> None:
    file.create_dataset("clip/humidity", data=np.zeros(1, "f4"))


def test_both_versions_are_verified_exported_and_merged(root: Path, tmp_path: Path) -> None:
    assert verify(root) == []
    assert export(FeatureStore.open(root), "twfr", tmp_path / "out.npz") == 3
    compact(root)
    assert versions(root) == [2]
    store = FeatureStore.open(root)
    assert content(store) == ROWS
    np.testing.assert_array_equal(store.facts("twfr")["peak"], np.array([np.nan, 0.25, 0.5], np.float32))


def test_the_measured_columns_are_read_from_version_1_too(root: Path) -> None:
    rewrite(root, 1, lambda file: file.attrs.modify("version", 1))
    assert [problem for problem in verify(root) if problem.file.startswith("shards/")] == []
    store = FeatureStore.open(root)
    assert versions(root) == [1, 1, 2]
    assert store.facts("twfr")["peak"].tolist()[1:] == [0.25, 0.5]
    assert content(store) == ROWS


def test_a_shard_of_a_newer_program_is_named_and_left_in_its_place(root: Path) -> None:
    path = rewrite(root, 2, newer)
    for read in (lambda: FeatureStore.open(root).matrix("twfr"), lambda: compact(root)):
        with pytest.raises(NewerShard, match="written by a newer program"):
            read()
    [problem] = {problem for problem in verify(root) if problem.file == f"shards/{path.name}" and problem.newer}
    assert "use a newer program" in problem.what
    before = sorted(root.rglob("*"))
    with pytest.raises(StoreError, match="use a newer program for the repair; nothing was changed"):
        repair(root)
    assert sorted(root.rglob("*")) == before


def test_the_repair_of_a_lost_state_leaves_newer_shards_too(root: Path) -> None:
    rewrite(root, 0, newer)
    with StoreWriter(root) as writer:
        writer.commit([shard([9], info=replace(writer.store.info("twfr"), name="other"))])
    max((root / "manifest").iterdir()).unlink()
    before = sorted(root.rglob("*"))
    with pytest.raises(StoreError, match="nothing was changed"):
        repair(root)
    assert sorted(root.rglob("*")) == before


def test_an_unknown_member_of_a_known_version_is_damage(root: Path) -> None:
    path = rewrite(root, 2, unknown_member)
    [problem] = {problem for problem in verify(root) if "members, expected" in problem.what}
    assert not problem.newer
    repair(root)
    assert (root / "damaged" / path.name).exists()
