"""A reader compares every shard with its manifest, and says what has happened to a store that is gone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sample_store import INFO, content, make_store, path_of, shard

from featstore.disk.head import FILE
from featstore.disk.manifest import Manifest
from featstore.disk.shard import ShardData
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def swapped(root: Path, data: ShardData, **change: object) -> FeatureStore:
    """A store whose manifest describes the shard of `data` with changes; all checksums are right."""
    store = make_store(root, data)
    entry = replace(store.manifest.shards[0], **change)
    infos = {entry.embedding: replace(INFO, name=entry.embedding)}
    return FeatureStore(root, Manifest(2, shards=(entry,), embeddings=infos))


@pytest.mark.parametrize("change", [{"rows": 1}, {"rows": 3}, {"rejected": 0}, {"rejected": 2}, {"embedding": "other"}])
def test_a_shard_that_is_not_what_the_manifest_says_is_refused(root, change):
    data = shard([1, 2], rejected=[3])
    assert content(swapped(root / "same", data)) == {path_of(1): 1.0, path_of(2): 2.0, path_of(3): -1.0}
    store = swapped(root / "other", data, **change)
    with pytest.raises(StoreError, match="does not match its manifest"):
        store.clips(store.manifest.shards[0].embedding)


@pytest.mark.parametrize(
    ("field", "value"), [("fingerprint", "e" * 64), ("dtype", "float16"), ("channel", "mean"), ("sample_rate_hz", 8000)]
)
def test_a_shard_of_another_embedding_is_refused(root, field, value):
    store = swapped(root, shard([1], info=replace(INFO, **{field: value})))
    with pytest.raises(StoreError, match=f"does not match its manifest .*{field}"):
        store.matrix("twfr")


def test_a_store_that_was_removed_while_it_was_read_says_so(root):
    store = make_store(root, shard([1]))
    shutil.rmtree(root)
    with pytest.raises(StoreError, match=r"store was removed while it was read; check the path$"):
        store.matrix("twfr")


def test_a_store_that_was_removed_while_it_was_written_says_so(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([1])])
        shutil.rmtree(root)
        with pytest.raises(StoreError, match=r"store was removed during the run; run the command again$"):
            writer.commit([shard([2])])
    assert not root.exists()


def test_a_store_whose_newest_state_is_missing_warns_its_reader(root):
    make_store(root, shard([1]))
    assert json.loads((root / FILE).read_bytes())["number"] == 2
    (root / "manifest" / "00000002.json").unlink()
    store = FeatureStore.open(root)
    assert "00000002.json, the last state that was published, is missing" in store.warnings[0]
    assert store.manifest.shards == ()
