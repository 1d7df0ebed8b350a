"""Commands that write a store with rows, on a disk that is full from some call on, and side by side."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import write_clip
from sample_store import INFO, content, make_store, path_of, shard

from featstore.cli import main
from featstore.reader import Compacted
from featstore.store import EmbeddingInfo, FeatureStore, StoreWriter
from featstore.upkeep.verify import notes, verify

OTHER = EmbeddingInfo(**{**vars(INFO), "name": "other"})
Content = dict[str, dict[str, float]]


class FullFrom:
    """Lets the k-th file operation of this process fail as on a full disk, and every later write."""

    def __init__(self, patch: pytest.MonkeyPatch, k: int) -> None:
        self.left = k
        for name in ("write", "fsync", "link", "replace"):
            patch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **named: object) -> object:
            self.left -= 1
            if self.left == 0 or (self.left < 0 and name == "write" and args[0] != 2):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **named)

        return wrapped


def contents(store: Path) -> Content:
    opened = FeatureStore.open(store)
    return {name: content(opened, name) for name in opened.embeddings}


@pytest.fixture
def folder(memory_path: Path) -> Path:
    """A store is written here for every file operation."""
    return memory_path


@pytest.fixture
def store(folder: Path) -> Path:
    """Three small shards with superseded rows, a damaged one, and another embedding."""
    root = folder / "prepared"
    make_store(root, shard([1, 2], rejected=[3]), shard([4], info=OTHER))
    with StoreWriter(root) as writer:
        writer.commit([shard([5, 6]), shard([7, 8], info=OTHER)])
        writer.commit([shard([2], offset=50.0)])
    return root


def damage(store: Path) -> None:
    file = store / "shards" / FeatureStore.open(store).entries("other")[-1].file
    file.write_bytes(file.read_bytes()[:-1] + b"x")


def words_of(command: str, store: Path, folder: Path) -> list[str]:
    """The command as typed."""
    if command != "import":
        return [command, str(store), *(["-e", "other"] if command == "drop" else [])]
    vectors, listed = folder / "vectors.npy", folder / "list.csv"
    np.save(vectors, np.ones((3, 4), dtype=np.float32))
    listed.write_text("path\n" + "".join(f"fan/{i}.wav\n" for i in range(3)))
    return ["import", str(store), str(vectors), "--as", "foreign", "--manifest", str(listed)]


def test_compact_drop_and_import_on_a_full_disk_leave_the_old_or_the_new_store(folder: Path, store: Path) -> None:
    for command in ("compact", "drop", "import"):
        before = contents(store)
        undisturbed = folder / f"{command}-done"
        shutil.copytree(store, undisturbed)
        assert CliRunner().invoke(main, words_of(command, undisturbed, folder)).exit_code == 0
        after = contents(undisturbed)
        codes = set()
        for k in range(1, 100):
            root = folder / f"{command}{k}"
            shutil.copytree(store, root)
            words = words_of(command, root, folder)
            with pytest.MonkeyPatch.context() as patch:
                failing = FullFrom(patch, k)
                result = CliRunner().invoke(main, words)
            codes.add(result.exit_code)
            assert contents(root) in (before, after), f"{command}, operation {k}"
            assert result.exit_code in {0, 5}, f"{command}, operation {k}: {result.output}"
            assert result.exit_code == 0 or "no space" in result.stderr
            assert verify(root) == []
            if contents(root) == before or command == "compact":
                assert CliRunner().invoke(main, words).exit_code == 0
            assert contents(root) == after
            with StoreWriter(root):  # a shard that could not be set aside goes now
                assert notes(root) == []
            shutil.rmtree(root)
            if failing.left > 0:
                break
        assert codes == {0, 5}, command


def test_repair_on_a_full_disk_loses_no_row_of_an_intact_shard(folder: Path, store: Path) -> None:
    whole = {"twfr": contents(store)["twfr"], "other": {path_of(4): 4.0}}
    damage(store)
    for k in range(1, 100):
        root = folder / f"repair{k}"
        shutil.copytree(store, root)
        with pytest.MonkeyPatch.context() as patch:
            failing = FullFrom(patch, k)
            result = CliRunner().invoke(main, ["repair", str(root)])
        assert result.exit_code in {0, 5}, result.output
        assert content(FeatureStore.open(root)) == whole["twfr"]
        assert CliRunner().invoke(main, ["repair", str(root)]).exit_code == 0
        assert contents(root) == whole
        assert verify(root) == []
        shutil.rmtree(root)
        if failing.left > 0:
            break
    assert k > 5


COMPACT = """
import sys
import time
from pathlib import Path
from featstore.errors import StoreError
from featstore.upkeep.compact import compact
stop = Path(sys.argv[2])
done = 0
while not stop.exists():
    time.sleep(0.02)
    try:
        compact(sys.argv[1])
        done += 1
    except StoreError as error:
        assert "is being written" in str(error), error
print(done)
"""


def held(store: Path) -> list[str]:
    """Keys of the rows; read again where the store was compacted between opening and reading."""
    for _ in range(100):
        with suppress(Compacted):
            return FeatureStore.open(store).clips("logmel").keys()
    raise AssertionError("compacted faster than it can be read")


def grow(data: Path, store: Path) -> int:
    """Build after each of seven new recordings, again where another process writes; number of such tries."""
    build = ["build", str(data), str(store), "-e", "logmel", "--workers", "0", "--unit-clips", "1"]
    tries = 0
    for number in range(7):
        write_clip(data, f"fan/normal/{number}.wav", number, samples=4000)
        while (result := CliRunner().invoke(main, build)).exit_code == 4 and tries < 200:
            assert "is being written" in result.stderr or "store was compacted; open" in result.stderr
            tries += 1
        assert result.exit_code == 0, result.output
        assert len(held(store)) == number + 1
    return tries


def test_builds_beside_compact_lose_nothing(tmp_path: Path) -> None:
    data, store, stop = tmp_path / "data", tmp_path / "store", tmp_path / "stop"
    make_store(store)
    command, pipe = [sys.executable, "-c", COMPACT, str(store), str(stop)], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as beside:
        try:
            grow(data, store)
        finally:
            stop.touch()
            out, err = beside.communicate(timeout=60)
    assert beside.returncode == 0, err
    assert int(out) > 0, "some compactions came between the builds"
    assert FeatureStore.open(store).clips("logmel").keys() == [f"fan/normal/{i}.wav" for i in range(7)]
    assert verify(store) == []
