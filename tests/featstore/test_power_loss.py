"""After a power loss at any moment, everything that was acknowledged is there, and nothing wrong is read."""

import hashlib
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from crash_states import crash_states, lay_out
from disk_recorder import Recorder, recording
from sample_store import INFO, content, path_of, shard

from featstore.errors import StoreError
from featstore.store import FeatureStore, StoreWriter
from featstore.upkeep.compact import compact
from featstore.upkeep.repair import repair
from featstore.upkeep.verify import verify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the recorder asks /proc for the names of open files")

OTHER = replace(INFO, name="other", fingerprint="e" * 64)
DAMAGED: dict[str, float] = {"damaged": 0.0}
Rows = dict[str, dict[str, float]]
WRITTEN = 4
"""Every so many states another writer goes on."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if the machine has one: thousands of small files are written."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def rows(root: Path) -> Rows:
    """Rows of the store; nothing while there is none."""
    if not (root / "shards").is_dir() or not any((root / "manifest").glob("*.json")):
        return {}
    manifest = FeatureStore.open(root).manifest
    paths = [root / "shards" / entry.file for entry in manifest.shards]
    return read(root, manifest.checksum, [path.read_bytes() if path.exists() else b"" for path in paths])


KNOWN: dict[tuple[str, ...], Rows] = {}


def read(root: Path, checksum: str, files: list[bytes]) -> Rows:
    """`rows` of one manifest and these shards, which are read once."""
    key = (checksum, *(hashlib.sha256(file).hexdigest() for file in files))
    if key not in KNOWN:
        store = FeatureStore.open(root)
        KNOWN[key] = {name: content_or_damage(store, name) for name in store.embeddings}
    return KNOWN[key]


def content_or_damage(store: FeatureStore, name: str) -> dict[str, float]:
    try:
        return content(store, name)
    except StoreError:
        return DAMAGED


def two_commits(root: Path) -> None:
    with StoreWriter(root) as writer:
        writer.commit([shard([1, 2]), shard([7, 8], info=OTHER)])


def second(root: Path) -> None:
    with StoreWriter(root) as writer:
        writer.commit([shard([2, 3], rejected=[4], offset=50.0)])


def removal(root: Path) -> None:
    with StoreWriter(root) as writer:
        writer.remove("twfr", [path_of(1)])


def dropped(root: Path) -> None:
    with StoreWriter(root) as writer:
        writer.commit([shard([9], info=replace(INFO, name="third"))])
        writer.drop("third")


def damage(root: Path, recorder: Recorder) -> None:
    entry = FeatureStore.open(root).entries("other")[0]
    path = root / "shards" / entry.file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    recorder.written(path, synced=True)


def record(root: Path, steps: list[Callable[[Path], object]]) -> tuple[Recorder, list[Rows]]:
    """Every step, and the rows after it."""
    with recording(root.parent) as recorder:
        states = [rows(root)]
        for step in steps:
            if step is repair:
                damage(root, recorder)
                recorder.mark("damaged")
                states.append(rows(root))
            step(root)
            recorder.mark(step.__name__)
            states.append(rows(root))
    return recorder, states


@pytest.mark.parametrize("links", [True, False])
def test_no_power_loss_takes_what_was_acknowledged(memory, monkeypatch, links):
    if not links:
        monkeypatch.setattr("featstore.disk.files.os.link", refuse_links)
    steps = [two_commits, second, compact, removal, dropped, repair] if links else [two_commits, second, compact]
    recorder, states = record(memory / "store", steps)
    assert len(recorder.events) > 80
    seen: set[object] = set()
    for marks, disk in crash_states(recorder.events, random.Random(0)):
        key = (len(marks), tuple(sorted(disk.items())))
        if key in seen:
            continue
        seen.add(key)
        root = memory / str(len(seen)) / "store"
        lay_out(disk, root.parent)
        found, allowed = rows(root), states[len(marks) : len(marks) + 2]
        assert found in allowed or without_third(found) in allowed, sorted(disk)
        if len(seen) % WRITTEN == 0 and DAMAGED not in found.values():
            check_writer(root, found, intact="damaged" not in marks)
        shutil.rmtree(root.parent)
    assert len(seen) > (200 if links else 80)


def refuse_links(*arguments: object, **options: object) -> None:
    raise OSError(95, "Operation not supported")


def without_third(found: Rows) -> Rows:
    """`dropped` is two steps, and the store may be between them."""
    return {name: found[name] for name in found if name != "third"}


def check_writer(root: Path, found: Rows, *, intact: bool) -> None:
    """The next writer keeps what was found and adds to it, and leaves a whole store."""
    with StoreWriter(root) as writer:
        assert rows(root) == found
        writer.commit([shard([5], info=replace(INFO, name="new"))])
    assert rows(root) == {**found, "new": {path_of(5): 5.0}}
    assert not intact or verify(root) == []
