import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from places import SUPPORT
from sample_store import INFO, clip, content, make_store, path_of, rows, shard

from featstore.errors import RequestError, ResourceError, StoreError
from featstore.store import FeatureStore, Rejection, ShardData, StoreWriter
from featstore.table import ClipTable
from featstore.upkeep.verify import notes, verify


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def test_stored_data_is_returned_unchanged(root):
    data = shard([1, 2, 3], rejected=[4])
    store = make_store(root, data)
    store = FeatureStore.open(root)
    assert dict(store.embeddings) == {"twfr": INFO}
    assert list(store.clips("twfr")) == [clip(1), clip(2), clip(3)]
    np.testing.assert_array_equal(store.matrix("twfr"), rows([1, 2, 3]))
    assert store.facts("twfr")["size_bytes"].tolist() == [100, 200, 300]
    assert store.facts("twfr")["content_hash"].tolist() == [b"", b"", b""]
    assert store.rejected("twfr") == list(data.rejected)
    assert verify(root) == []


@pytest.mark.parametrize(("shape", "dtype"), [((4,), "float16"), ((2, 3), "float32"), ((1,), "float32")])
def test_shapes_and_dtypes(root, shape, dtype):
    info = replace(INFO, shape=shape, dtype=dtype, views=("a", "b") if len(shape) == 2 else ())
    store = make_store(root, shard([1, 2], info=info), shard([3], info=info))
    assert store.matrix("twfr").dtype == np.float32
    np.testing.assert_array_equal(store.matrix("twfr"), rows([1, 2, 3], info))


@pytest.mark.parametrize("n_rows", [1, 3, 4, 7, 100])
def test_blocks_equal_whole(root, n_rows):
    store = make_store(root, shard([1, 2, 3]), shard([4]), shard([5, 6, 7]))
    with StoreWriter(root) as writer:
        store = writer.remove("twfr", [path_of(2), path_of(4)])
    blocks = list(store.blocks("twfr", n_rows))
    assert [len(matrix) for _, matrix in blocks[:-1]] == [n_rows] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate([matrix for _, matrix in blocks]), rows([1, 3, 5, 6, 7]))
    assert ClipTable.concatenate([clips for clips, _ in blocks]).keys() == store.clips("twfr").keys()


def test_a_mask_selects_rows_of_the_clip_table(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([1, 2, 3]), shard([4, 5, 6])])
        store = writer.remove("twfr", [path_of(1)])
    mask = store.clips("twfr").where(section="00")
    np.testing.assert_array_equal(store.matrix("twfr", mask), rows([3, 6]))
    with pytest.raises(ValueError, match="boolean mask of 5 rows"):
        store.matrix("twfr", np.ones(6, dtype=bool))


def test_a_changed_recording_replaces_its_row(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([1, 2, 3], rejected=[4])])
        store = writer.commit([shard([2, 4], offset=100.0)])
        assert content(store) == {path_of(1): 1.0, path_of(3): 3.0, path_of(2): 102.0, path_of(4): 104.0}
        assert store.rejected("twfr") == []
        with pytest.raises(StoreError, match="already in"):
            writer.commit([shard([1])], replace=False)
    assert verify(root) == []


def test_a_row_can_become_a_rejection_and_back(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([1, 2])])
        store = writer.commit([shard([], rejected=[2])])
        assert content(store) == {path_of(1): 1.0, path_of(2): -1.0}
        store = writer.commit([shard([2])])
        assert content(store) == {path_of(1): 1.0, path_of(2): 2.0}
        store = writer.remove("twfr", [path_of(2), "never there"])
        assert content(store) == {path_of(1): 1.0}  # the old rejection stays superseded
    assert verify(root) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("fingerprint", "e" * 64), ("shape", (2, 2)), ("dtype", "float16"), ("channel", "mean"), ("length", "crop 2 s")],
)
def test_different_embeddings_cannot_share_a_name(root, field, value):
    other = shard([5], info=replace(INFO, **{field: value}))
    with StoreWriter(root) as writer:
        before = writer.commit([shard([1])])
        with pytest.raises(StoreError, match=f"{field}.*--as NAME"):
            writer.commit([other])
        assert content(writer.store) == content(before)
        writer.commit([replace(other, info=replace(other.info, name="another"))])
    assert set(FeatureStore.open(root).embeddings) == {"twfr", "another"}


def test_duplicates_and_invalid_rows_are_rejected_by_name(root):
    nan = shard([7])
    matrix = nan.matrix.copy()
    matrix[0, 2] = np.nan
    with StoreWriter(root) as writer:
        with pytest.raises(StoreError, match=f"{path_of(3)}.*twice"):
            writer.commit([shard([3]), shard([2, 3])])
        with pytest.raises(StoreError, match=f"{path_of(3)}.*twice"):
            writer.commit([shard([3], rejected=[3])])
        with pytest.raises(StoreError, match=f"{path_of(7)}.*not finite"):
            writer.commit([shard([1]), replace(nan, matrix=matrix)])
        with pytest.raises(StoreError, match="not finite as float16"):
            writer.commit([shard([70000], info=replace(INFO, dtype="float16"))])
        with pytest.raises(StoreError, match=r"expected \(1, 4\)"):
            writer.commit([replace(nan, matrix=np.zeros((2, 4)))])
        assert dict(writer.store.embeddings) == {}
    assert list((root / "shards").iterdir()) == []


def test_unknown_names_list_the_known(root):
    store = make_store(root, shard([1]))
    with pytest.raises(StoreError, match="no embedding 'twrf'; it has twfr; did you mean twfr"):
        store.matrix("twrf")
    with pytest.raises(StoreError, match="not a feature store"):
        FeatureStore.open(root / "elsewhere")


def test_inputs_are_not_modified(root):
    data = shard([1, 2])
    data.matrix.flags.writeable = False
    for column in data.clips.columns.values():
        column.flags.writeable = False
    make_store(root, data)


STRANGE = [
    "tab\tnewline\n.wav",
    "emoji 🎧.wav",
    "e\u0301.wav",
    "\u00e9.wav",
    "surrogate \udcff.wav",
    "x" * 255,
    " ",
    "::",
]


@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_unusual_clip_names_are_kept(root, name):
    strange = replace(clip(1), path=name, machine=name, attributes={name: name})
    data = ShardData(
        INFO, ClipTable.from_clips([strange, clip(2)]), rows([1, 2]), rejected=[Rejection(name + "?", name, 1, 2)]
    )
    store = make_store(root, data)
    assert list(store.clips("twfr")) == [strange, clip(2)]
    assert store.rejected("twfr") == list(data.rejected)
    assert verify(root) == []


def test_snapshots_do_not_change_under_a_reader(root):
    with StoreWriter(root) as writer:
        first = writer.commit([shard([1, 2])])
        opened = FeatureStore.open(root)
        writer.commit([shard([2, 3], offset=50.0)])
        assert content(opened) == content(first) == {path_of(1): 1.0, path_of(2): 2.0}
        assert content(FeatureStore.open(root)) == {path_of(1): 1.0, path_of(2): 52.0, path_of(3): 53.0}


def test_readers_see_whole_commits_while_a_writer_works(root):
    """Every commit replaces both rows by one new value; a reader must never see two different values."""
    make_store(root, shard([0, 1]))
    stop, seen, errors = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                values = FeatureStore.open(root).matrix("twfr")[:, 0] - [0, 1]
            except Exception as error:
                errors.append(error)
                return
            seen.add(tuple(values.tolist()))

    reader = threading.Thread(target=read)
    reader.start()
    with StoreWriter(root) as writer:
        for number in range(30):
            writer.commit([shard([0], offset=float(number)), shard([1], offset=float(number))])
    stop.set()
    reader.join()
    assert errors == []
    assert all(first == second for first, second in seen)
    assert len(seen) > 1


def test_only_the_last_manifests_are_kept_and_files_never_change(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([1])])
        files = {path: path.read_bytes() for path in (root / "shards").iterdir()}
        for number in range(2, 7):
            writer.commit([shard([number])])
    assert sorted(path.name for path in (root / "manifest").iterdir()) == [f"{n:08d}.json" for n in (5, 6, 7)]
    assert all(path.read_bytes() == image for path, image in files.items())


class FailFrom:
    """Makes the k-th patched system call fail; with `lasting`, also every later write."""

    def __init__(self, patch: pytest.MonkeyPatch, k: int, code: int, *, lasting: bool) -> None:
        self.left, self.code, self.lasting = k, code, lasting
        for name in ("open", "write", "fsync", "rename", "replace", "link"):
            patch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name, call):
        def wrapped(*args, **kwargs):
            self.left -= 1
            if self.left == 0 or (self.lasting and self.left < 0 and name == "write"):
                raise OSError(self.code, os.strerror(self.code))
            return call(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize(("code", "lasting"), [(errno.EIO, False), (errno.ENOSPC, True)], ids=["EIO", "ENOSPC"])
def test_any_failing_system_call_leaves_the_old_or_the_new_store(memory_path, code, lasting):
    """Fail the first, second, ... call of a commit; no intermediate state may be visible."""
    old = {path_of(1): 1.0, path_of(2): 2.0, path_of(3): -1.0}
    new = {path_of(1): 1.0, path_of(2): 52.0, path_of(3): 53.0, path_of(4): 54.0, path_of(5): -1.0}
    change = [shard([2, 3], offset=50.0), shard([4], rejected=[5], offset=50.0)]
    outcomes = []
    for k in range(1, 200):
        root = memory_path / str(k)
        with StoreWriter(root) as writer:
            writer.commit([shard([1, 2], rejected=[3])])
            with pytest.MonkeyPatch.context() as patch:
                failing = FailFrom(patch, k, code, lasting=lasting)
                try:
                    writer.commit(change)
                    outcomes.append("done")
                except (StoreError, ResourceError) as error:
                    outcomes.append(type(error).__name__)
            published = content(FeatureStore.open(root))
            assert published in (old, new), f"call {k}"
            assert published == content(writer.store)
            assert verify(root) == notes(root) == []
            assert content(writer.commit(change)) == new
        if failing.left > 0:
            break
    assert outcomes[-1] == "done"
    assert len(outcomes) > 15
    assert ("ResourceError" in outcomes) == (code == errno.ENOSPC)


def test_a_full_disk_is_reported_before_the_first_write(root, monkeypatch):
    with StoreWriter(root) as writer:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(ResourceError, match=r"needs \d+ bytes, 1000 are free"):
            writer.commit([shard([1])])
        monkeypatch.undo()
        assert notes(root) == []
        writer.commit([shard([1])])


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_store import shard
from featstore.store import StoreWriter
with StoreWriter(Path(sys.argv[1])) as writer:
    start = writer.store.rows("twfr") if "twfr" in writer.store.embeddings else 0
    for number in range(start, 5000):
        writer.commit([shard([number])])
        print(number, flush=True)
"""


def test_kill_9_loses_no_committed_row(root, tmp_path):
    rng = np.random.default_rng(0)
    acknowledged = -1
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(root), str(SUPPORT)], stdout=subprocess.PIPE, text=True
        ) as child:
            child.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.3))
            child.send_signal(signal.SIGKILL)
            numbers = [int(line) for line in child.stdout.read().splitlines() if line.strip().isdigit()]
        acknowledged = max([acknowledged, *numbers])
        published = content(FeatureStore.open(root))
        assert set(published) >= {path_of(number) for number in range(acknowledged + 1)}
        assert all(key == path_of(int(value)) for key, value in published.items())
        assert verify(root) == []
    with StoreWriter(root):
        assert notes(root) == []


def test_a_commit_does_not_read_shards_again(root, monkeypatch):
    with StoreWriter(root) as writer:
        writer.commit([shard([number]) for number in range(20)])
        monkeypatch.setattr(FeatureStore, "open_shard", None)
        writer.commit([shard([3, 100])])


def test_a_path_that_cannot_be_a_store_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the store"):
        StoreWriter(tmp_path / "file" / "store")


def test_a_read_only_store_can_be_read(root):
    make_store(root, shard([1]))
    places = [root, root / "shards", root / "manifest", root / "lock"]
    for place in places:
        place.chmod(0o555)
    try:
        if os.access(root / "lock", os.W_OK):
            pytest.skip("this user may write anywhere")
        assert content(FeatureStore.open(root)) == {path_of(1): 1.0}
        with pytest.raises(StoreError, match="cannot lock"):
            StoreWriter(root)
    finally:
        for place in places:
            place.chmod(0o755)


def test_dropping_an_embedding_frees_its_name_and_space(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        writer.commit([shard([1, 2, 3])])
        other = replace(INFO, name="other")
        writer.commit([shard([1, 2], info=other)])
        before = {path.name for path in (tmp_path / "s" / "shards").iterdir()}
        writer.drop("twfr")
        assert set(writer.store.embeddings) == {"other"}
        assert len(list((tmp_path / "s" / "shards").iterdir())) == len(before) - 1
        writer.commit([shard([7], info=replace(INFO, fingerprint="0" * 64))])
    store = FeatureStore.open(tmp_path / "s")
    assert (store.rows("other"), store.rows("twfr")) == (2, 1)
    with pytest.raises(StoreError, match="no embedding 'thing'"), StoreWriter(tmp_path / "s") as writer:
        writer.drop("thing")


def test_a_folder_with_other_files_becomes_no_store(tmp_path: Path) -> None:
    (tmp_path / "important.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"is no store and holds other files, first 'important\.txt'"):
        StoreWriter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["important.txt"]
    (tmp_path / "important.txt").unlink()
    (tmp_path / "lost+found").mkdir()  # an empty disk that was mounted here
    (tmp_path / ".hidden").touch()
    StoreWriter(tmp_path).close()
    (tmp_path / "note.txt").write_text("beside a store")
    StoreWriter(tmp_path).close()
