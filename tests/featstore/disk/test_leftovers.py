"""What a killed writer left goes away, what another writer is publishing stays."""

import os
from pathlib import Path

import pytest
from sample_store import content, make_store, path_of, shard

from featstore.disk import leftovers
from featstore.disk.leftovers import put_back_aside, remove_leftovers, remove_unnamed, unnamed
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


def test_a_shard_comes_back_from_a_writer_that_is_interrupted(root, monkeypatch):
    """Between the two looks."""
    path = root / "shards" / "new.h5"
    path.write_bytes(b"new")
    replace = os.replace

    def stop(*paths: object) -> None:
        monkeypatch.setattr(os, "replace", replace)
        replace(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        remove_unnamed(root, [path])
    assert path.read_bytes() == b"new"


def test_a_published_shard_is_not_lost_between_two_who_remove_leftovers(root, monkeypatch):
    """One has seen it before it was published and sets it aside; a compaction removes leftovers meanwhile."""
    [path] = (root / "shards").iterdir()
    look = leftovers.unnamed

    def second_look(root: Path, listed: object) -> list[Path]:
        monkeypatch.setattr(leftovers, "unnamed", look)
        assert not path.exists()
        remove_leftovers(root)
        return look(root, listed)

    def first_look(root: Path, listed: object) -> list[Path]:
        monkeypatch.setattr(leftovers, "unnamed", second_look)
        return [path]

    monkeypatch.setattr(leftovers, "unnamed", first_look)
    remove_unnamed(root, [path])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0}


def killed_amid_removal(root: Path) -> Path:
    """A published shard is set aside, and its writer is gone."""
    [path] = (root / "shards").iterdir()
    path.rename(path.with_name(f"{path.name}.01234567.aside"))
    return path


@pytest.mark.parametrize("repairing", [False, True])
def test_a_published_shard_that_is_set_aside_is_put_back_by_the_next_writer(root, repairing):
    path = killed_amid_removal(root)
    [problem] = verify(root)
    assert problem.file == f"shards/{path.name}"
    assert "is set aside by a writer; the next featstore build puts it back" in problem.what
    with StoreWriter(root, repairing=repairing):
        pass
    assert shards(root) == [path.name]
    assert verify(root) == notes(root) == []


def test_a_writer_that_removes_leftovers_leaves_what_another_has_set_aside(root):
    killed_amid_removal(root)
    before = shards(root)
    remove_leftovers(root)
    assert shards(root) == before


def test_a_leftover_that_is_set_aside_is_removed_by_the_next_writer(root):
    (root / "shards" / "new.h5.01234567.aside").write_bytes(b"new")
    with StoreWriter(root):
        pass
    assert notes(root) == []


def test_a_shard_that_came_back_is_not_removed_by_the_writer_that_set_it_aside(root, monkeypatch):
    """After its second look a third writer puts it back, it is published, and a fourth one sets it aside."""
    path = root / "shards" / "new.h5"
    path.write_bytes(b"new")

    def look(root: Path, listed: object) -> list[Path]:
        monkeypatch.setattr(leftovers, "unnamed", second_look)
        return [path]

    def second_look(root: Path, listed: object) -> list[Path]:
        put_back_aside(root)
        path.replace(path.with_name("new.h5.76543210.aside"))
        return [path]

    monkeypatch.setattr(leftovers, "unnamed", look)
    remove_unnamed(root, [path])
    put_back_aside(root)
    assert path.read_bytes() == b"new"


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


def test_a_shard_is_set_aside_under_another_name_each_time(root, monkeypatch):
    path, replace, names = root / "shards" / "new.h5", os.replace, set()
    monkeypatch.setattr(os, "replace", lambda old, new: (names.add(str(new)), replace(old, new)))
    for _ in range(2):
        path.write_bytes(b"new")
        remove_unnamed(root, [path])
    assert len(names) == 2
