"""No writer undoes what another has published, even when the lock fails."""

import errno
import multiprocessing
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sample_store import INFO, content, make_store, path_of, shard

from featstore import store
from featstore.disk import lock, manifest, publish
from featstore.disk.head import read_head, write_head
from featstore.disk.publish import Overtaken
from featstore.disk.sealed import canonical, seal, unseal
from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.compact import compact
from featstore.upkeep.verify import notes, verify

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    """A store whose lock keeps nobody out, as between two hosts."""
    monkeypatch.setattr(lock, "_flock", lambda descriptor, path: None)
    make_store(tmp_path / "store", shard([1]))
    return tmp_path / "store"


def no_links(monkeypatch) -> None:
    def fail(*arguments, **options):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)


@pytest.mark.parametrize("links", [True, False])
def test_the_second_of_two_writers_is_refused_and_the_first_keeps_its_rows(root, monkeypatch, links):
    if not links:
        no_links(monkeypatch)
    with StoreWriter(root) as first, StoreWriter(root) as second:
        first.commit([shard([2])])
        with pytest.raises(Overtaken, match=r"another writer has published since .* Run the command again"):
            second.commit([shard([3])])
        assert content(FeatureStore.open(root)) == content(second.store) == {path_of(1): 1.0, path_of(2): 2.0}
        assert second.commit([shard([3])]).rows("twfr") == 3  # on top of the other's state
        with pytest.raises(Overtaken):
            first.remove("twfr", [path_of(1)])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0, path_of(3): 3.0}
    assert verify(root) == notes(root) == []
    assert Overtaken.exit_code == 4


@pytest.mark.parametrize("change", [lambda w: w.drop("twfr"), lambda w: w.replace_shards("twfr", ["x"], [])])
def test_no_change_goes_on_top_of_a_state_that_was_not_read(root, change):
    with StoreWriter(root) as first, StoreWriter(root) as second:
        first.commit([shard([2])])
        with pytest.raises(Overtaken):
            change(second)
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0}


def test_compacting_beside_a_writer_loses_nothing(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([2])])
        compact(root)
        with pytest.raises(Overtaken):
            writer.commit([shard([3])])
        writer.commit([shard([3])])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 2.0, path_of(3): 3.0}
    assert verify(root) == []


def test_two_who_look_at_once_want_the_same_name(root, monkeypatch):
    """Both have seen that their parent is the newest before either publishes."""
    barrier, exclusive = threading.Barrier(2, timeout=20), publish.write_exclusive
    outcomes: dict[int, str] = {}

    def together(path: Path, data: bytes) -> None:
        barrier.wait()
        exclusive(path, data)

    def commit(number: int, writer: StoreWriter) -> None:
        try:
            writer.commit([shard([number], info=replace(INFO, name=f"e{number}"))])
            outcomes[number] = "done"
        except StoreError as error:
            outcomes[number] = type(error).__name__

    with StoreWriter(root) as first, StoreWriter(root) as second:
        monkeypatch.setattr(publish, "write_exclusive", together)
        threads = [threading.Thread(target=commit, args=pair) for pair in ((2, first), (3, second))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes.values()) == ["Overtaken", "done"]
    winner = min(outcomes, key=lambda number: outcomes[number] != "done")
    assert FeatureStore.open(root).embeddings.keys() == {"twfr", f"e{winner}"}
    assert verify(root) == []


def later(root: Path, monkeypatch, act) -> None:
    """`act` happens between a writer's look at the manifests and its own."""
    exclusive = publish.write_exclusive

    def write(path: Path, data: bytes) -> None:
        monkeypatch.setattr(publish, "write_exclusive", exclusive)
        act()
        exclusive(path, data)

    monkeypatch.setattr(publish, "write_exclusive", write)


@pytest.mark.parametrize("links", [True, False])
def test_a_number_that_was_pruned_meanwhile_does_not_count_below_a_higher_one(root, monkeypatch, links):
    if not links:
        no_links(monkeypatch)
    with StoreWriter(root) as slow, StoreWriter(root) as fast:
        later(root, monkeypatch, lambda: [fast.commit([shard([number])]) for number in range(10, 15)])
        with pytest.raises(Overtaken):
            slow.commit([shard([2])])
    assert sorted(path.name for path in (root / "manifest").iterdir()) == [f"{n:08d}.json" for n in (5, 6, 7)]
    assert content(FeatureStore.open(root)).keys() == {path_of(number) for number in (1, *range(10, 15))}
    assert verify(root) == notes(root) == []


def test_a_list_that_is_behind_the_head_record_is_not_believed(root, monkeypatch):
    """The list of a folder on a network file system may be old."""
    with StoreWriter(root) as slow, StoreWriter(root) as fast:
        old = manifest.numbered(root)
        fast.commit([shard([2])])
        monkeypatch.setattr(publish, "numbered", lambda folder: old)
        monkeypatch.setattr(publish, "write_exclusive", None)
        with pytest.raises(Overtaken):
            slow.commit([shard([3])])


def test_the_parent_is_known_by_its_checksum_not_by_its_number(root):
    """The manifest that this writer has read was exchanged, in a store without a head record."""
    with StoreWriter(root) as writer:
        (root / "head.json").unlink()
        path = root / "manifest" / "00000002.json"
        raw = {**unseal(path.read_bytes()), "created": "2020-01-01T00:00:00+00:00"}
        path.write_bytes(canonical(seal({key: raw[key] for key in raw if key != "checksum"})))
        with pytest.raises(Overtaken):
            writer.commit([shard([2])])


def test_a_manifest_that_another_writes_in_place_is_waited_for(root):
    """Without hard links a list may show a part of it; its number is taken."""
    with StoreWriter(root) as writer:
        (root / "manifest" / "00000003.json").write_bytes(b'{"checksum":')
        with pytest.raises(Overtaken):
            writer.commit([shard([2])])


def test_a_manifest_is_kept_when_another_was_made_from_it(root, monkeypatch):
    """Before the first writer looks again, a second one has read its manifest and published on top."""
    confirm = publish._confirm

    def late(*arguments) -> None:
        monkeypatch.setattr(publish, "_confirm", confirm)
        make_store(root, shard([3]))
        confirm(*arguments)

    with StoreWriter(root) as writer:
        monkeypatch.setattr(publish, "_confirm", late)
        writer.commit([shard([2])])
    assert content(FeatureStore.open(root)).keys() == {path_of(number) for number in (1, 2, 3)}
    assert FeatureStore.open(root).warnings == ()


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 100)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_shard_was_removed_is_not_published(root, monkeypatch, harm, when):
    """Another writer took the shard for a leftover, before or after this one published it."""

    def harm_new() -> None:
        [new] = (root / "shards").glob("*-00000003-0000.h5")
        harm(new)

    target = "write_exclusive" if when == "before" else "_confirm"
    function = getattr(publish, target)
    if when == "before":
        monkeypatch.setattr(publish, "write_exclusive", None)  # it is noticed before anything is written
        check = publish._check_shards
        monkeypatch.setattr(publish, "_check_shards", lambda *args: (harm_new(), check(*args)))
    else:
        monkeypatch.setattr(publish, target, lambda *args: (harm_new(), function(*args)))
    with StoreWriter(root) as writer, pytest.raises(StoreError, match=r"00000003-0000\.h5 .* nothing was published"):
        writer.commit([shard([2])])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0}
    assert FeatureStore.open(root).manifest.number == 2
    assert verify(root) == []


def test_writers_that_work_at_once_keep_their_shards_apart(root, monkeypatch):
    """The second must not replace a file of the first, nor remove it."""
    with StoreWriter(root) as first, StoreWriter(root) as second:
        later(root, monkeypatch, lambda: second.commit([shard([3], offset=9.0)]))
        with pytest.raises(Overtaken):
            first.commit([shard([2])])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(3): 12.0}
    assert verify(root) == notes(root) == []


def test_a_shard_that_another_writer_replaced_is_not_published(root, monkeypatch):
    """The other took it for a leftover and wrote its own of the same size, for the same manifest."""
    publishing = store.publish

    def after_the_other(*arguments, **options):
        with StoreWriter(root) as other:
            other._write(shard([9]), 0)
        return publishing(*arguments, **options)

    with StoreWriter(root) as writer:
        monkeypatch.setattr(store, "publish", after_the_other)
        with pytest.raises(StoreError, match="is missing"):
            writer.commit([shard([2])])
    monkeypatch.undo()
    assert content(make_store(root, shard([3]))) == {path_of(1): 1.0, path_of(3): 3.0}
    assert verify(root) == notes(root) == []


def withdrawing(root: Path, monkeypatch, act) -> None:
    """`act` happens between a writer's manifest and its second look; then it finds its shard missing."""
    confirm = publish._confirm

    def late(path: Path, *arguments) -> None:
        monkeypatch.setattr(publish, "_confirm", confirm)
        [new] = (root / "shards").glob("*-00000003-0000.h5")
        act(new)
        new.unlink(missing_ok=True)
        confirm(path, *arguments)

    monkeypatch.setattr(publish, "_confirm", late)


@pytest.mark.parametrize("present", [True, False])
def test_a_manifest_that_is_withdrawn_leaves_no_head_record(root, monkeypatch, present):
    """Another writer starts on it before it is withdrawn, and takes it for that of a killed one."""
    seen = []

    def start(new: Path) -> None:
        if not present:
            new.unlink()
        with StoreWriter(root) as other:
            seen.append((other.store.manifest.number, read_head(root).number))

    with StoreWriter(root) as writer:
        withdrawing(root, monkeypatch, start)
        with pytest.raises(StoreError, match="is missing"):
            writer.commit([shard([2])])
    assert seen == [(3, 3 if present else 2)]
    assert read_head(root).number == 2
    assert verify(root) == notes(root) == []
    assert content(make_store(root, shard([3]))) == {path_of(1): 1.0, path_of(3): 3.0}


def test_a_head_record_that_is_written_while_its_manifest_is_withdrawn_is_taken_back(root, monkeypatch):
    """The other writer has looked before the withdrawal and writes after it."""
    written = publish.write_head

    def withdraw_first(folder: Path, of: manifest.Manifest) -> None:
        monkeypatch.setattr(publish, "write_head", written)
        (root / "manifest" / "00000003.json").unlink()
        written(folder, of)

    with StoreWriter(root) as writer:
        monkeypatch.setattr(publish, "write_head", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            writer.commit([shard([2])])
    monkeypatch.setattr(publish, "write_head", withdraw_first)
    with pytest.raises(Overtaken):
        StoreWriter(root)
    assert read_head(root).number == 2
    assert verify(root) == []


def test_the_first_manifest_of_all_is_withdrawn_with_its_head_record(tmp_path):
    first = manifest.Manifest(1, checksum="a" * 64)
    write_head(tmp_path, first)
    publish._take_back_head(tmp_path, first)
    assert read_head(tmp_path) is None


def commit_many(root: Path, start: int, count: int, acknowledged: "multiprocessing.Queue[int]") -> None:
    lock._flock = lambda descriptor, path: None
    with StoreWriter(root) as writer:
        for number in range(start, start + count):
            try:
                writer.commit([shard([number])])
                acknowledged.put(number)
            except StoreError:
                continue


def test_processes_without_a_lock_lose_no_acknowledged_row(root):
    context = multiprocessing.get_context("fork")
    queues = [context.Queue() for _ in range(3)]
    processes = [
        context.Process(target=commit_many, args=(root, 1000 * (i + 1), 8, queue)) for i, queue in enumerate(queues)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    acknowledged = set()
    for queue in queues:
        while not queue.empty():
            acknowledged.add(path_of(queue.get()))
    assert acknowledged
    assert content(FeatureStore.open(root)).keys() == acknowledged | {path_of(1)}
    assert verify(root) == []
