"""What a writer remembers of the places of keys follows every change of the store."""

from pathlib import Path

import pytest
from sample_store import content, path_of, shard

from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.verify import verify

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def writer(tmp_path: Path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.commit([shard([1, 2]), shard([3])])
        writer.commit([shard([2])])  # the writer remembers the places now
        yield writer


def replaced(writer: StoreWriter) -> None:
    """The rows move to one new file, in another order."""
    files = [entry.file for entry in writer.store.entries("twfr")]
    writer.replace_shards("twfr", files, [shard([3, 2, 1])])


def discarded(writer: StoreWriter) -> None:
    """The only file with key 3 goes."""
    [file] = [entry.file for entry in writer.store.entries("twfr") if entry.rows == 1 and "0001" in entry.file[-8:]]
    writer.discard([file])


@pytest.mark.parametrize("change", [replaced, discarded])
def test_a_commit_after_the_change_supersedes_the_right_rows(writer, change):
    change(writer)
    writer.commit([shard([1, 3], offset=50.0)])
    assert content(FeatureStore.open(writer.path)) == {path_of(2): 2.0, path_of(1): 51.0, path_of(3): 53.0}
    assert verify(writer.path) == []


def test_a_commit_after_an_error_supersedes_the_right_rows(writer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_publish", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            writer.commit([shard([1])])
    writer.commit([shard([1], offset=50.0)])
    assert verify(writer.path) == []
    assert content(writer.store)[path_of(1)] == 51.0
