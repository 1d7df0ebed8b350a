"""Shards that no manifest names tell of a state that was published and is lost; those of a killed writer do not."""

import hashlib
import shutil
from pathlib import Path

import pytest
from sample_store import INFO, content, make_store, path_of, shard

from featstore import store
from featstore.disk.head import FILE, read_head
from featstore.disk.manifest import numbered
from featstore.disk.shard import build_image
from featstore.errors import StoreError
from featstore.store import FeatureStore, FinishedShard, StoreWriter
from featstore.upkeep.compact import compact
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import notes, verify

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Manifests 1 (empty) and 2."""
    make_store(tmp_path / "store", shard([1]))
    return tmp_path / "store"


def go_back(root: Path, commits: int) -> None:
    """Publish more, then restore manifest/ and head.json from a backup of before."""
    backup = root.parent / "backup"
    shutil.copytree(root, backup)
    for number in range(commits):
        make_store(root, shard([10 + number]))
    shutil.rmtree(root / "manifest")
    shutil.copytree(backup / "manifest", root / "manifest")
    shutil.copy(backup / FILE, root / FILE)


def test_a_store_with_manifests_of_an_older_backup_is_told_and_refused(root):
    go_back(root, 3)
    [warning] = FeatureStore.open(root).warnings
    assert "was written for manifest 5, but the newest one left is manifest 2 of" in warning
    assert [(problem.file, problem.what) for problem in verify(root)] == [(FILE, warning)]
    for write in (StoreWriter, compact):
        with pytest.raises(StoreError, match=r"manifest 5.*nothing was written.*featstore repair"):
            write(root)
    assert len(list((root / "shards").iterdir())) == 4
    assert "3 shards of it were moved" in repair(root)[-1].what
    assert FeatureStore.open(root).manifest.number == 6, "a number that was published is not used again"
    assert verify(root) == []
    assert content(make_store(root, shard([5]))) == {path_of(1): 1.0, path_of(5): 5.0}


def test_a_lost_head_record_with_the_newest_manifest_is_told(root):
    make_store(root, shard([2]))
    (root / FILE).unlink()
    next(iter(numbered(root).values())).unlink()
    assert "was written for manifest 3" in FeatureStore.open(root).warnings[0]
    with pytest.raises(StoreError, match="featstore repair"):
        StoreWriter(root)
    repair(root)
    assert read_head(root).number == FeatureStore.open(root).manifest.number == 4
    assert verify(root) == []


def killed(root: Path, monkeypatch, act, before: int = 0) -> None:
    """A writer is killed when its shards are written, after so many commits."""
    with StoreWriter(root) as writer:
        for number in range(before):
            writer.commit([shard([20 + number])])
        with monkeypatch.context() as patch:
            patch.setattr(store, "publish", lambda *arguments, **options: 1 / 0)
            patch.setattr(store, "remove_unnamed", lambda *arguments: None)
            with pytest.raises(ZeroDivisionError):
                act(writer)


def adopted(writer: StoreWriter) -> None:
    image = build_image(shard([2]))
    path = writer.path.parent / "finished.h5"
    path.write_bytes(image)
    digest = hashlib.sha256(image).hexdigest()
    writer.adopt([FinishedShard(path, INFO, (path_of(2),), 1, len(image), digest, f"{'a' * 16}-00000000-00")])


@pytest.mark.parametrize("before", [0, 1, 4])
@pytest.mark.parametrize(
    "act",
    [
        lambda writer: writer.commit([shard([2]), shard([3])]),
        lambda writer: writer.replace_shards("twfr", [writer.store.entries("twfr")[0].file], [shard([1])]),
        adopted,
    ],
    ids=["commit", "replace", "adopt"],
)
def test_shards_of_a_killed_writer_are_removed(root, monkeypatch, act, before):
    killed(root, monkeypatch, act, before)
    assert notes(root)
    assert verify(root) == []
    with StoreWriter(root):
        pass
    assert notes(root) == verify(root) == []
    assert len(content(FeatureStore.open(root))) == 1 + before


def test_shards_that_a_compaction_has_replaced_are_no_proof(root, monkeypatch):
    make_store(root, shard([2]), shard([3]))
    monkeypatch.setattr(StoreWriter, "remove_unnamed", lambda *arguments, **options: None)
    compact(root)
    for path in list(numbered(root).values())[1:]:
        path.unlink()
    assert len(notes(root)) == 3
    assert verify(root) == []


def test_a_leftover_of_an_earlier_program_without_head_record_is_no_proof(root, monkeypatch):
    killed(root, monkeypatch, lambda writer: writer.commit([shard([2])]))
    (root / FILE).unlink()
    [path] = (root / "shards").glob("*-00000003-*.h5")
    path.rename(path.with_name(path.name[:16] + path.name[32:]))
    assert verify(root) == []


def test_a_shard_that_is_not_whole_is_no_proof(root):
    (root / "shards" / f"{'0' * 32}-00000009-0000.h5").write_bytes(b"half")
    assert verify(root) == []
    with StoreWriter(root):
        pass
    assert notes(root) == []


def test_a_commit_while_the_store_is_opened_is_no_loss(root, monkeypatch):
    """A writer publishes manifest 3 and then writes a shard for 4; the list of the shards is older than both."""
    from featstore.disk import newest

    read = newest.read_head

    def commit_first(folder: Path):
        monkeypatch.setattr(newest, "read_head", read)
        record = read(folder)
        manifests = newest.numbered(folder)
        make_store(root, shard([3]))
        killed(root, monkeypatch, lambda writer: writer.commit([shard([4])]))
        monkeypatch.setattr(newest, "numbered", lambda folder: manifests)
        return record

    monkeypatch.setattr(newest, "read_head", commit_first)
    assert newest.find_newest(root).warnings == ()


def test_a_damaged_manifest_above_an_old_head_record_is_kept_with_its_shards(root):
    """A program that writes no head record may have published it."""
    head = (root / FILE).read_bytes()
    make_store(root, shard([2]), shard([3]))
    (root / FILE).write_bytes(head)
    damaged = next(iter(numbered(root).values()))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    with StoreWriter(root) as writer:
        assert f"00000003.json and its 2 shards were moved to {root / 'damaged'}" in writer.store.warnings[-1]
        assert content(writer.commit([shard([5])])) == {path_of(1): 1.0, path_of(5): 5.0}
    assert damaged.name in {path.name for path in (root / "damaged").iterdir()}
    assert len(list((root / "damaged").glob("*-00000003-*.h5"))) == 2
    assert verify(root) == []
