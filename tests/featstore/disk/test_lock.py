import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from places import SUPPORT
from sample_store import content, path_of, shard

from featstore.disk import lock
from featstore.errors import ResourceError, StoreError
from featstore.store import FeatureStore, StoreWriter

HOLD = """
import sys
from featstore.store import StoreWriter
sys.path.insert(0, sys.argv[2])
from sample_store import shard
with StoreWriter(sys.argv[1]) as writer:
    print("ready", flush=True)
    sys.stdin.readline()
    writer.commit([shard([1])])
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def holder(root):
    """A second process that locks the store, commits one clip on request, and ends."""
    arguments = [sys.executable, "-c", HOLD, str(root), str(SUPPORT)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_and_the_first_continues(root, holder):
    start = time.perf_counter()
    with pytest.raises(StoreError, match=f"being written by process {holder.pid} on "):
        StoreWriter(root)
    assert time.perf_counter() - start < 1
    assert StoreError.exit_code == 4
    holder.communicate("go\n")
    assert holder.returncode == 0
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0}


def test_the_lock_of_a_killed_writer_is_free_at_once(root, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((root / "lock").read_text())["pid"] == holder.pid
    start = time.perf_counter()
    with StoreWriter(root) as writer:
        assert content(writer.commit([shard([2])])) == {path_of(2): 2.0}
    assert time.perf_counter() - start < 1


def test_two_writers_of_one_process_exclude_each_other(root):
    with StoreWriter(root), pytest.raises(StoreError, match=f"process {os.getpid()} on"):
        StoreWriter(root)
    with StoreWriter(root):
        pass
    assert (root / "lock").read_bytes() == b""


def owner(**change) -> str:
    return json.dumps({"host": "elsewhere", "boot_id": "another", "pid": 7, "heartbeat": time.time()} | change)


@pytest.fixture
def watched(root, monkeypatch):
    """Another host is watched for a shorter time; `lock` below is what it has written."""
    monkeypatch.setattr(lock, "OBSERVED_S", 0.3)
    monkeypatch.setattr(lock, "POLL_S", 0.02)
    root.mkdir()
    return root / "lock"


@pytest.mark.parametrize("clock_s", [0.0, -3600.0, 3600.0, -1e9], ids=str)
@pytest.mark.parametrize("host", ["elsewhere", os.uname().nodename])
def test_a_writer_is_refused_while_another_host_renews_its_heartbeat(watched, clock_s, host):
    """Whatever its clock says; hosts that were cloned have one name."""
    watched.write_text(owner(host=host, heartbeat=clock_s))
    stop = threading.Event()

    def beat() -> None:
        for count in itertools.count(1):
            if stop.wait(0.05):
                return
            watched.write_text(owner(host=host, heartbeat=clock_s + count))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(StoreError, match=f"process 7 on {host}"):
            StoreWriter(watched.parent)
    finally:
        stop.set()
        thread.join()
    with StoreWriter(watched.parent):  # it is silent now
        pass


@pytest.mark.parametrize("now", ["", "half a hea"])
def test_another_host_that_ends_meanwhile_does_not_block(watched, now):
    watched.write_text(owner())
    thread = threading.Timer(0.1, lambda: watched.write_text(now))
    thread.start()
    with StoreWriter(watched.parent):
        pass
    thread.join()


@pytest.mark.parametrize("heartbeat", [time.time(), 1.0, 1e12], ids=["now", "past", "future"])
def test_a_silent_owner_is_watched_and_does_not_block(watched, heartbeat):
    watched.write_text(owner(heartbeat=heartbeat))
    start = time.monotonic()
    with StoreWriter(watched.parent):
        pass
    assert time.monotonic() - start >= lock.OBSERVED_S


@pytest.mark.parametrize(
    "text",
    [owner(boot_id=lock.boot_id()), owner(heartbeat=None), "", "not json", "[" * 5000, "[1]"],
    ids=["same kernel", "no heartbeat", "empty", "text", "nested", "list"],
)
def test_an_owner_of_this_host_and_an_invalid_one_are_not_watched(root, text, monkeypatch):
    monkeypatch.setattr(lock, "_reopened", None)
    root.mkdir()
    (root / "lock").write_text(text)
    with StoreWriter(root):
        pass


def test_another_host_is_watched_for_longer_than_the_heartbeat_of_any_version():
    assert lock.OBSERVED_S >= 3 * lock.HEARTBEAT_S
    assert lock.OBSERVED_S > 5.0 + lock.POLL_S


def test_the_heartbeat_is_renewed(root, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.01)
    with StoreWriter(root):
        first = json.loads((root / "lock").read_text())
        time.sleep(0.1)
        second = json.loads((root / "lock").read_text())
    assert second["heartbeat"] > first["heartbeat"]
    assert second["token"] == first["token"]


def test_a_writer_whose_lock_file_was_removed_stops(root):
    with StoreWriter(root) as writer:
        writer.commit([shard([1])])
        (root / "lock").unlink()
        with pytest.raises(StoreError, match="was removed during the run"):
            writer.commit([shard([2])])
    assert content(FeatureStore.open(root)) == {path_of(1): 1.0}


def test_a_linked_lock_is_refused(root, tmp_path):
    root.mkdir()
    (tmp_path / "victim").write_text("keep")
    (root / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="cannot lock the store"):
        StoreWriter(root)
    assert (tmp_path / "victim").read_text() == "keep"


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync"])
def test_a_full_disk_names_the_lock_file(tmp_path, monkeypatch, call):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"os.{call}", full)
    with pytest.raises(ResourceError, match=rf"no space for {tmp_path}/lock \(No space left"):
        lock.StoreLock(tmp_path)
