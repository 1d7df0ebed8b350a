"""A repair that is killed at any step, then run again, deletes no shard that someone could still use."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from killed import Killed, KilledAtStep
from sample_store import content, path_of, shard

from featstore.disk.head import FILE
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import verify

pytestmark = pytest.mark.usefixtures("unsynced")


def newest(root: Path) -> Path:
    return max((root / "manifest").iterdir())


def without_head(root: Path) -> None:
    (root / FILE).unlink()
    newest(root).write_bytes(b"")


def head_as_folder(root: Path) -> None:
    (root / FILE).unlink()
    (root / FILE).mkdir()
    (root / FILE / "x").touch()


def head_as_folder_and_newest_lost(root: Path) -> None:
    head_as_folder(root)
    newest(root).write_bytes(b"")


HARMS: dict[str, Callable[[Path], object]] = {
    "newest manifest missing": lambda root: newest(root).unlink(),
    "newest manifest damaged": lambda root: newest(root).write_bytes(b""),
    "newest manifest damaged, no head": without_head,
    "head is a folder": head_as_folder,
    "head is a folder, newest manifest damaged": head_as_folder_and_newest_lost,
}


def shards_of(*folders: Path) -> set[bytes]:
    return {path.read_bytes() for folder in folders for path in folder.glob("*.h5*")}


@pytest.mark.parametrize("harm", HARMS)
def test_a_killed_repair_deletes_no_shard(tmp_path: Path, harm: str) -> None:
    whole = tmp_path / "store"
    with StoreWriter(whole) as writer:
        writer.commit([shard([1])])
        writer.commit([shard([2])])
    HARMS[harm](whole)
    intact = shards_of(whole / "shards")
    at, died = 0, True
    while died:
        at += 1
        root = tmp_path / str(at)
        shutil.copytree(whole, root)
        with pytest.MonkeyPatch.context() as patch:
            KilledAtStep(patch, at)
            try:
                repair(root)
                died = False
            except Killed:
                pass
        with suppress(StoreError):  # another command, before the repair is run again
            StoreWriter(root).close()
        repair(root)
        assert verify(root) == []
        assert shards_of(root / "shards", root / "damaged") == intact, f"step {at}"
        store = FeatureStore.open(root)
        assert content(store).items() >= {path_of(1): 1.0}.items()
        assert {path.name for path in (root / "shards").iterdir()} == {entry.file for entry in store.manifest.shards}
        shutil.rmtree(root)
    assert at > 10, "there are steps to be killed at"


def test_a_store_without_head_still_says_that_a_state_is_missing(tmp_path: Path) -> None:
    with StoreWriter(tmp_path) as writer:
        writer.commit([shard([1])])
        number = writer.commit([shard([2])]).manifest.number
    without_head(tmp_path)
    moved = newest(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoreWriter, "discard", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            repair(tmp_path)
    assert not moved.exists()
    assert any("is missing" in problem.what for problem in verify(tmp_path))
    repair(tmp_path)
    assert FeatureStore.open(tmp_path).manifest.number > number


def test_a_file_of_an_earlier_repair_is_not_written_over(tmp_path: Path) -> None:
    make = tmp_path / "store"
    with StoreWriter(make) as writer:
        entry = writer.commit([shard([1])]).manifest.shards[0]
    (make / "damaged").mkdir()
    (make / "damaged" / entry.file).write_bytes(b"earlier")
    (make / "shards" / entry.file).write_bytes(b"damaged")
    repair(make)
    assert shards_of(make / "damaged") == {b"earlier", b"damaged"}
