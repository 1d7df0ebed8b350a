"""What a killed writer left goes away, what another writer is publishing stays."""

import os
from pathlib import Path

import pytest
from sample_store import content, make_store, path_of, shard

from featstore.disk import leftovers
from featstore.disk.leftovers import remove_unnamed, unnamed
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.verify import notes, verify

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", shard([1]))
    return tmp_path / "store"


def shards(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "shards").iterdir())


def test_leftovers_of_a_killed_writer_are_removed(root):
    (root / "shards" / "a-00000009-0000.h5").write_bytes(b"unpublished")
    (root / "shards" / "b.h5.12345678.tmp").write_bytes(b"half")
    (root / "manifest" / "00000009.json.12345678.tmp").write_bytes(b"{")
    (root / "build.json.12345678.tmp").write_bytes(b"{")
    assert verify(root) == []
    assert len(notes(root)) == 4
    with StoreWriter(root):
        pass
    assert notes(root) == []
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0}


def test_no_shard_is_removed_while_a_manifest_is_unreadable(root):
    older = sorted((root / "manifest").iterdir())[0]
    older.write_bytes(older.read_bytes()[:-5])
    (root / "shards" / "orphan.h5").write_bytes(b"")
    with StoreWriter(root) as writer:
        assert "orphan.h5" in shards(root)
        writer.commit([shard([3])])
        writer.commit([shard([4])])
    assert not older.exists()  # pruned
    with StoreWriter(root):
        assert "orphan.h5" not in shards(root)


def test_a_shard_that_is_published_while_it_is_removed_comes_back(root, monkeypatch):
    """Between the two looks at the manifests, a writer publishes the shard."""
    path = root / "shards" / "new.h5"
    path.write_bytes(b"new")
    looks = iter([[path], []])
    monkeypatch.setattr(leftovers, "unnamed", lambda *arguments: next(looks))
    remove_unnamed(root, [path])
    assert path.read_bytes() == b"new"
    looks = iter([[path], [path]])
    remove_unnamed(root, [path])
    assert shards(root) == shards(root)[:1]


def test_a_shard_is_set_aside_before_the_second_look(root, monkeypatch):
    """So a writer that publishes it after that look finds it missing and withdraws."""
    path = root / "shards" / "new.h5"
    path.write_bytes(b"new")
    present = []

    def look(root: Path, listed: object) -> list[Path]:
        present.append(path.exists())
        return [path]

    monkeypatch.setattr(leftovers, "unnamed", look)
    remove_unnamed(root, [path])
    assert present == [True, False]


def test_shards_are_listed_before_the_manifests(root, monkeypatch):
    """A commit between both lists adds a shard and its manifest; its shard must not count as unnamed."""
    before = leftovers.numbered

    def commit_first(folder: Path) -> dict[int, Path]:
        (root / "shards" / "late.h5").write_bytes(b"")
        return before(folder)

    monkeypatch.setattr(leftovers, "numbered", commit_first)
    assert unnamed(root, (root / "shards").glob("*.h5")) == []


def test_removed_manifests_are_durable_before_their_shards_go(root, monkeypatch):
    calls = []
    sync, replace = leftovers.sync_directory, os.replace
    monkeypatch.setattr(leftovers, "sync_directory", lambda folder: (calls.append("sync"), sync(folder)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("aside"), replace(*paths)))
    (root / "shards" / "orphan.h5").write_bytes(b"")
    remove_unnamed(root, (root / "shards").glob("*.h5"))
    assert calls == ["sync", "aside"]
