"""Which manifest counts, and that a published state that is missing is noticed."""

import json
import os
import shutil
from pathlib import Path

import pytest
from places import DATA
from sample_store import content, make_store, path_of, shard, store_of_two_commits

from featstore.disk import head, newest, publish
from featstore.disk.head import FILE, Head, read_head, write_head
from featstore.disk.manifest import MAX_NUMBER, Manifest, name_of, numbered
from featstore.disk.newest import find_newest
from featstore.disk.publish import prune
from featstore.disk.sealed import canonical, seal, unseal
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.compact import compact
from featstore.upkeep.verify import notes, verify

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return store_of_two_commits(tmp_path / "store")


def newest_file(root: Path) -> Path:
    return next(iter(numbered(root).values()))


def renumber(root: Path, number: int) -> None:
    """Give the newest manifest another number, with a right checksum."""
    path = newest_file(root)
    raw = unseal(path.read_bytes())
    del raw["checksum"]
    path.unlink()
    path.with_name(name_of(number)).write_bytes(canonical(seal({**raw, "number": number})))
    (root / FILE).unlink(missing_ok=True)


def test_the_head_record_follows_every_commit(root):
    for number in range(3):
        with StoreWriter(root) as writer:
            manifest = writer.commit([shard([number])]).manifest
        assert read_head(root) == Head(manifest.number, manifest.checksum)
    assert find_newest(root).warnings == ()
    assert notes(root) == verify(root) == []


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: os.truncate(path, 100), lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x")],
    ids=["missing", "short", "changed"],
)
def test_a_missing_newest_manifest_is_told_and_not_written_over(root, harm):
    path = newest_file(root)
    harm(path)
    [warning] = FeatureStore.open(root).warnings
    assert path.name in warning
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0}
    assert [problem.what for problem in verify(root)] == [warning]
    for write in (StoreWriter, compact):
        with pytest.raises(StoreError, match=rf"{path.name}.*nothing was written.*featstore repair.*manifest 2 "):
            write(root)
    assert len(list((root / "shards").iterdir())) == 2


def test_a_manifest_that_was_exchanged_is_told(root):
    """Another state under the same number, such as one from a backup of another day."""
    path = newest_file(root)
    raw = unseal(path.read_bytes())
    del raw["checksum"]
    path.write_bytes(canonical(seal({**raw, "created": "2020-01-01T00:00:00+00:00"})))
    assert "is not the one that was published" in FeatureStore.open(root).warnings[0]
    assert [problem.file for problem in verify(root)] == [FILE]
    with pytest.raises(StoreError, match="is not the one that was published"):
        StoreWriter(root)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", json.dumps(seal({"format": "featstore-head", "version": 2, "number": 3, "manifest": "0" * 64})),
     json.dumps(seal({"format": "x", "version": 1, "number": 3, "manifest": "0" * 64})),
     json.dumps(seal({"format": "featstore-head", "version": 1, "number": -3, "manifest": "0" * 64})),
     json.dumps(seal({"format": "featstore-head", "version": 1, "number": 3, "manifest": "0"})),
     json.dumps(seal({"format": "featstore-head", "version": 1, "number": 3})), " " * 5000],
)  # fmt: skip
def test_a_damaged_head_record_is_told(root, text):
    (root / FILE).write_text(text)
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}
    assert FILE in FeatureStore.open(root).warnings[0]
    assert [problem.file for problem in verify(root)] == [FILE]
    with pytest.raises(StoreError, match=rf"{FILE}.*featstore repair"):
        StoreWriter(root)


def test_a_crash_between_manifest_and_head_record_is_mended(root, monkeypatch):
    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with StoreWriter(root) as writer, monkeypatch.context() as patch:
        patch.setattr(publish, "write_head", crash)
        with pytest.raises(KeyboardInterrupt):
            writer.commit([shard([3])])
    assert read_head(root).number == 3
    assert FeatureStore.open(root).rows("twfr") == 3
    assert FeatureStore.open(root).warnings == ()
    assert verify(root) == []
    with StoreWriter(root):
        pass
    assert read_head(root).number == 4


def test_a_store_without_a_head_record_gets_one(tmp_path):
    shutil.copytree(DATA / "golden_store_v1", tmp_path / "store")
    before = FeatureStore.open(tmp_path / "store")
    assert before.warnings == ()
    assert not (tmp_path / "store" / FILE).exists()
    with StoreWriter(tmp_path / "store"):
        pass
    assert read_head(tmp_path / "store") == Head(before.manifest.number, before.manifest.checksum)


def test_without_a_head_record_a_damaged_newest_manifest_may_have_been_published(root):
    (root / FILE).unlink()
    newest_file(root).write_bytes(b"")
    with pytest.raises(StoreError, match="featstore repair"):
        StoreWriter(root)


def test_a_damaged_manifest_after_the_head_was_never_published(root):
    """On a file system without hard links a crash leaves a part of it."""
    path = root / "manifest" / "00000004.json"
    path.write_bytes(b'{"checksum":')
    assert path.name in FeatureStore.open(root).warnings[0]
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}
    with StoreWriter(root) as writer:
        assert not path.exists()
        assert writer.commit([shard([3])]).manifest.number == 4
    assert verify(root) == []


def test_a_first_manifest_that_is_incomplete_is_written_again(tmp_path):
    """Nothing was ever published; on a file system without hard links a crash leaves a part of it."""
    for name in ("manifest", "shards"):
        (tmp_path / name).mkdir()
    (tmp_path / "manifest" / "00000001.json").write_bytes(b'{"checksum":')
    assert "00000001.json is damaged" in FeatureStore.open(tmp_path).warnings[0]
    with StoreWriter(tmp_path) as writer:
        assert content(writer.commit([shard([1])])) == {path_of(1): 1.0}
    assert verify(tmp_path) == []
    assert [problem.file for problem in notes(tmp_path)] == ["damaged/00000001.json"]


def test_a_commit_between_reading_head_and_list_is_no_loss(root, monkeypatch):
    listed = newest.numbered

    def commit_first(folder: Path) -> dict[int, Path]:
        monkeypatch.setattr(newest, "numbered", listed)
        make_store(root, shard([3]))
        return listed(folder)

    monkeypatch.setattr(newest, "numbered", commit_first)
    assert find_newest(root).warnings == ()
    assert find_newest(root).manifest.number == 4


def test_a_store_that_lost_every_manifest_says_what_helps(root):
    for path in numbered(root).values():
        path.write_bytes(b"")
    cure = r"restore .*manifest from a backup: with it the 2 shards can be read again"
    with pytest.raises(StoreError, match=rf"has no valid manifest: .*; {cure}"):
        FeatureStore.open(root)
    for path in numbered(root).values():
        path.unlink()
    for path in (root / "shards").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="holds 0 shards but no manifest"):
        StoreWriter(root)


def test_shards_without_a_manifest_are_checked_in_themselves(root):
    for path in numbered(root).values():
        path.unlink()
    _, broken = sorted((root / "shards").iterdir())
    os.truncate(broken, 500)
    assert [problem.file for problem in verify(root)] == [".", f"shards/{broken.name}"]


@pytest.mark.parametrize("number", [99_999_999, 100_000_000, 10**17])
def test_numbers_may_have_more_than_eight_digits(root, number):
    renumber(root, number)
    assert find_newest(root).manifest.number == number
    with StoreWriter(root) as writer:
        assert writer.commit([shard([3])]).manifest.number == number + 1
    assert content(FeatureStore.open(root)) == {path_of(n): float(n) for n in (1, 2, 3)}
    assert name_of(number + 1) == newest_file(root).name == f"{number + 1}.json"
    assert any(f"-{number + 1}-" in path.name for path in (root / "shards").iterdir())
    assert verify(root) == notes(root) == []
    assert compact(root).shards_after == 1
    assert verify(root) == notes(root) == []
    assert len(numbered(root)) == 1


@pytest.mark.parametrize("number", [99_999_999, 10**17])
def test_a_damaged_manifest_with_a_high_number_does_not_hide_later_commits(root, number):
    (root / "manifest" / f"{number}.json").write_bytes(b"")
    with StoreWriter(root) as writer:
        writer.commit([shard([3])])
    assert content(FeatureStore.open(root)) == {path_of(n): float(n) for n in (1, 2, 3)}
    assert verify(root) == []


def test_the_highest_number_is_refused_clearly(root):
    renumber(root, MAX_NUMBER)
    with StoreWriter(root) as writer, pytest.raises(StoreError, match="highest possible number; build into a new"):
        writer.commit([shard([3])])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}


@pytest.mark.parametrize("name", ["000000003.json", "0000003.json", f"{MAX_NUMBER + 1}.json", "00000003.JSON"])
def test_other_names_are_no_manifests(root, name):
    before = list(numbered(root))
    (root / "manifest" / name).write_bytes(b"")
    assert list(numbered(root)) == before
    assert [problem.file for problem in notes(root)] == [f"manifest/{name}"]


def test_number_0_is_not_valid(root):
    """It would be taken for a store to which nothing was ever published."""
    renumber(root, 0)
    for path in list(numbered(root).values())[:-1]:
        path.unlink()
    with pytest.raises(StoreError, match=r"00000000\.json is not a valid manifest"):
        FeatureStore.open(root)


def test_only_older_manifests_are_pruned(root):
    for number in (4, 5, 6):
        shutil.copy(newest_file(root), root / "manifest" / name_of(number))
    prune(root, 4, keep=2)
    assert list(numbered(root)) == [6, 5, 4, 3]


def test_the_oldest_manifest_goes_first(root, monkeypatch):
    """So a crash amid the removal leaves neighbours."""
    gone = []
    monkeypatch.setattr(Path, "unlink", lambda path: gone.append(path.name))
    prune(root, 3, keep=1)
    assert gone == ["00000001.json", "00000002.json"]


def test_a_head_record_is_read_back(root):
    write_head(root, Manifest(7, checksum="a" * 64))
    assert read_head(root) == Head(7, "a" * 64)
    assert (root / FILE).stat().st_size <= head.MAX_BYTES
