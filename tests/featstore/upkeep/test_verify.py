from dataclasses import replace

import numpy as np
import pytest
from sample_store import INFO, content, make_store, path_of, shard

from featstore.clip import Clip
from featstore.disk.manifest import ShardEntry
from featstore.errors import RequestError, StoreError
from featstore.store import FeatureStore, ShardData, StoreWriter
from featstore.table import ClipTable, encode
from featstore.upkeep.compact import compact, groups
from featstore.upkeep.verify import Problem, notes, verify


@pytest.fixture
def root(tmp_path):
    make_store(tmp_path / "store", shard(range(40)), shard(range(40, 80), rejected=[99]))
    return tmp_path / "store"


def refused(root) -> bool:
    try:
        content(FeatureStore.open(root))
    except StoreError:
        return True
    return False


def published(root):
    return [*sorted((root / "shards").iterdir()), max((root / "manifest").iterdir())]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["shard", "last shard", "manifest"])
@pytest.mark.parametrize("size", [0, 1, 96, 2048, 0.25, 0.5, 0.99], ids=str)
def test_every_truncation_is_reported(root, which, size):
    path = published(root)[which]
    image = path.read_bytes()
    path.write_bytes(image[: min(size if isinstance(size, int) else int(len(image) * size), len(image) - 1)])
    problems = verify(root)
    assert {problem.file for problem in problems} == {path.relative_to(root).as_posix()}
    assert refused(root) or FeatureStore.open(root).warnings


def test_every_sampled_bit_flip_is_reported(root, rng):
    """Bits of headers, text, numbers and the manifest: no wrong number is ever returned."""
    before = content(FeatureStore.open(root))
    for path in published(root):
        image = path.read_bytes()
        offsets = {*range(0, 128, 16), len(image) - 1, *rng.integers(0, len(image), 25).tolist()}
        for offset in offsets:
            flipped = bytearray(image)
            flipped[offset] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            assert [problem.file for problem in verify(root)] == [path.relative_to(root).as_posix()]
            assert refused(root) or FeatureStore.open(root).warnings
        path.write_bytes(image)
    assert content(FeatureStore.open(root)) == before
    assert verify(root) == []


def test_a_missing_shard_is_reported(root):
    path = published(root)[0]
    path.unlink()
    with pytest.raises(StoreError, match=f"{path.name} is missing"):
        FeatureStore.open(root).matrix("twfr")
    assert [problem.file for problem in verify(root)] == [f"shards/{path.name}"]


def test_a_store_without_its_manifests_is_not_an_empty_store(root):
    for path in (root / "manifest").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match=r"holds 2 shards but no manifest; restore .*manifest from a backup"):
        FeatureStore.open(root)
    assert [problem.file for problem in verify(root)] == ["."]


def test_a_folder_that_is_no_store_is_an_error_of_the_user(tmp_path):
    with pytest.raises(RequestError, match="is not a feature store"):
        verify(tmp_path / "nowhere")
    assert notes(tmp_path / "nowhere") == []


def test_a_row_that_is_not_finite_is_reported(root, monkeypatch):
    """This program never writes such a row; another program might."""
    monkeypatch.setattr("featstore.disk.shard.finite_rows", lambda matrix: np.ones(len(matrix), dtype=bool))
    data = shard([200, 201])
    data.matrix[1, 1] = np.nan
    with StoreWriter(root) as writer:
        writer.commit([data])
    [problem] = verify(root)
    assert "1 row is not finite, the first is row 1" in problem.what


def test_a_key_that_is_live_twice_is_reported(root, monkeypatch):
    monkeypatch.setattr(StoreWriter, "_without", lambda writer, _: list(writer.store.manifest.shards))
    with StoreWriter(root) as writer:
        writer.commit([shard([3])])
    [problem] = verify(root)
    assert path_of(3) in problem.what


def test_every_key_that_is_live_in_two_files_is_reported(root, monkeypatch):
    """Rows against rejections, and rejections against rejections."""
    monkeypatch.setattr(StoreWriter, "_without", lambda writer, _: list(writer.store.manifest.shards))
    with StoreWriter(root) as writer:
        writer.commit([shard([99], rejected=[3])])
    assert {problem.what.partition(" in ")[0] for problem in verify(root)} == {
        f"key {path_of(number)!r} is also live" for number in (3, 99)
    }


def test_a_key_of_two_embeddings_is_no_problem(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([3], info=replace(INFO, name="other"))])
    assert verify(root) == []


@pytest.mark.parametrize("again", [shard([3, 3]), shard([3], rejected=[3]), shard([], rejected=[3, 3])])
def test_a_key_that_is_live_twice_in_a_file_is_reported(tmp_path, monkeypatch, again):
    monkeypatch.setattr("featstore.store._distinct_keys", lambda shards: {name: list(keys) for name, keys in shards})
    make_store(tmp_path / "twice", again)
    assert [problem.what for problem in verify(tmp_path / "twice")] == ["a key is live twice in this file"]


def test_a_key_that_was_superseded_in_its_file_is_no_problem(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([200], rejected=[201])])
        writer.commit([shard([201], rejected=[200])])
    assert verify(root) == []


@pytest.mark.parametrize(
    ("column", "value"), [("split", "validation"), ("label", ""), ("attributes", "[1]"), ("attributes", "{")]
)
def test_invalid_clips_are_reported(root, column, value):
    columns = dict(ClipTable.from_clips([Clip("p", "m", "s", "train")]).columns)
    columns[column] = encode([value])
    with StoreWriter(root) as writer:
        writer.commit([ShardData(INFO, ClipTable(columns), np.zeros((1, 4)))])
    [problem] = verify(root)
    assert problem.what.startswith(column)


def test_leftovers_are_notes_not_problems(root):
    (root / "shards" / "x.h5.0000.tmp").write_bytes(b"")
    (root / "shards" / "orphan.h5").write_bytes(b"")
    assert verify(root) == []
    assert notes(root) == [
        Problem("shards/orphan.h5", "not named by any manifest"),
        Problem("shards/x.h5.0000.tmp", "temporary file of an unfinished write"),
    ]


def entry(live: int, dropped: int = 0, width: int = 100) -> ShardEntry:
    total = live + dropped
    return ShardEntry(f"s{live}.h5", "e", total, 0, 10960 + total * width, "0" * 64, tuple(range(dropped)))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([entry(5), entry(5), entry(5)], [[5, 5]]),
        ([entry(5), entry(5), entry(1)], [[5, 5]]),
        ([entry(10), entry(10)], []),
        ([entry(10, dropped=1), entry(10)], [[10]]),
        ([entry(0, dropped=3)], [[0]]),
        ([entry(4), entry(4, width=400)], []),
        ([], []),
    ],
)
def test_groups_need_rewriting_and_respect_the_limits(sizes, expected):
    result = groups(sizes, max_rows=10, max_bytes=2000)
    assert [[entry.live_rows for entry in group] for group in result] == expected


def test_compact_keeps_live_rows_and_removes_the_rest(root):
    with StoreWriter(root) as writer:
        for number in range(5):
            writer.commit([shard([number], offset=500.0), shard([], rejected=[number + 50])])
        store = writer.remove("twfr", [path_of(7), path_of(99)])
        opened = FeatureStore.open(root)
    before, keys, facts = content(store), store.clips("twfr").keys(), store.facts("twfr")
    result = compact(root, max_rows=60)
    after = FeatureStore.open(root)
    assert content(after) == before
    assert after.clips("twfr").keys() == keys
    np.testing.assert_array_equal(after.facts("twfr")["size_bytes"], facts["size_bytes"])
    assert result.superseded == 5 + 5 + 2
    assert (result.shards_before, result.shards_after) == (12, 2)
    assert result.bytes_after < result.bytes_before
    assert all(not shard.dropped and not shard.cleared for shard in after.manifest.shards)
    assert verify(root) == notes(root) == []
    assert len(list((root / "shards").iterdir())) == 2
    with pytest.raises(StoreError, match="the store was compacted; open the store again"):
        opened.matrix("twfr")


def test_compact_of_a_compact_store_changes_nothing(root):
    compact(root)
    files = {path: path.read_bytes() for path in (root / "shards").iterdir()}
    result = compact(root)
    assert result.shards_before == result.shards_after == 1
    assert {path: path.read_bytes() for path in (root / "shards").iterdir()} == files


def test_compact_refuses_a_wrong_path_and_a_damaged_manifest(root, tmp_path):
    with StoreWriter(root) as writer:
        writer.commit([shard([300])])
    newest = max((root / "manifest").iterdir())
    newest.write_bytes(b"")
    with pytest.raises(StoreError, match=f"{newest.name} is damaged.*run featstore repair"):
        compact(root)
    assert len(list((root / "shards").iterdir())) == 3
    with pytest.raises(StoreError, match="not a feature store"):
        compact(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_compact_drops_shards_without_live_rows(root):
    with StoreWriter(root) as writer:
        writer.remove("twfr", [path_of(number) for number in [*range(80), 99]])
    assert compact(root).shards_after == 0
    assert content(FeatureStore.open(root)) == {}
