"""Folders and links where a store has files, and a verification beside a compaction."""

from pathlib import Path

import pytest
from sample_store import content, make_store, path_of, shard

from featstore.disk.manifest import name_of
from featstore.errors import StoreError
from featstore.reader import FeatureStore
from featstore.store import StoreWriter
from featstore.upkeep import verify as module
from featstore.upkeep.compact import compact
from featstore.upkeep.verify import verify


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", shard([1]), shard([2]))
    return tmp_path / "store"


def beside(patch: pytest.MonkeyPatch, root: Path, times: int) -> list[int]:
    """Before each of the first `times` checks of a shard, publish another one, and compact the store."""
    left = [times]
    plain = module.FeatureStore.open_shard

    def open_shard(self: FeatureStore, entry: object) -> object:
        if left[0] > 0:
            left[0] -= 1
            number = times - left[0] + 10
            with patch.context() as undisturbed:
                undisturbed.setattr(FeatureStore, "open_shard", plain)
                with StoreWriter(root) as writer:
                    writer.commit([shard([number])])
                compact(root)
        return plain(self, entry)  # type: ignore[arg-type]

    patch.setattr(FeatureStore, "open_shard", open_shard)
    return left


def test_a_compaction_is_no_damage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = beside(monkeypatch, root, 3)
    assert verify(root) == []
    assert left == [0]


def test_compactions_without_end_are_an_error_that_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    beside(monkeypatch, root, 9)
    with pytest.raises(StoreError, match="compacted faster than it can be checked; run featstore verify again"):
        verify(root)


def test_a_missing_shard_of_an_older_manifest_is_still_damage(root: Path) -> None:
    first = FeatureStore.open(root).manifest.shards[0].file
    with StoreWriter(root) as writer:
        writer.commit([shard([1, 2], offset=5.0)])
        writer.replace_shards("twfr", [entry.file for entry in writer.store.entries("twfr")], [shard([1, 2])])
    (root / "shards" / first).unlink()
    assert {problem.file for problem in verify(root)} == {f"shards/{first}"}


def test_a_folder_named_like_a_newer_manifest_is_moved_away(root: Path) -> None:
    folder = root / "manifest" / name_of(99)
    folder.mkdir()
    with StoreWriter(root) as writer:
        assert "00000099.json" in writer.store.warnings[-1]
        assert content(writer.commit([shard([3])])) == {path_of(i): float(i) for i in (1, 2, 3)}
    assert verify(root) == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [(lambda lock: lock.mkdir(), "a folder"), (lambda lock: lock.symlink_to("elsewhere"), "a symbolic link")],
    ids=["folder", "link"],
)
def test_a_lock_that_no_writer_can_take_is_reported(root: Path, harm, words: str) -> None:  # type: ignore[no-untyped-def]
    (root / "lock").unlink()
    assert verify(root) == []
    harm(root / "lock")
    [problem] = verify(root)
    assert problem.file == "lock"
    assert f"lock is {words}, so nothing can be written to the store; remove it" in problem.what
