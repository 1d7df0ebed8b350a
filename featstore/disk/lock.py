"""One writer per store: a kernel lock on a file whose content names the writer.

The kernel releases flock when the process ends, even after kill -9, so a local file system never keeps a stale lock. On
a network file system flock may work on one host only. So when the file names another host, it is watched for
OBSERVED_S: if its content changes, that host is writing. No clocks are compared. Where the lock fails all the same, two
writers still cannot undo each other's commits: see publish.py.
"""

import errno
import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from featstore.disk.files import explained, no_space
from featstore.errors import StoreError

HEARTBEAT_S = 2.0
OBSERVED_S = 6.0
"""Time for which the heartbeat of another host is watched; three heartbeats, or one of earlier versions."""
POLL_S = 0.2
_MAX_BYTES = 4096


class StoreLock:
    """The write lock of the store at `root`, held from construction to `release`.

    Raises StoreError when another process holds it: within a second on the same host, within a few when another host
    has it; ResourceError when the disk is full. Needs POSIX file locks: on Windows a store is read-only.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / "lock"
        self._token = secrets.token_hex(8)
        self._started = time.time()
        self._descriptor = _open(self.path)
        try:
            _flock(self._descriptor, self.path)
            _refuse_other_host(_owner(self._descriptor), self.path)
            with explained(str(self.path), _MAX_BYTES, root):
                self._beat()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="featstore-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise StoreError when the lock file was removed or replaced: another writer may be active."""
        with suppress(OSError):
            if os.path.samestat(self.path.stat(follow_symlinks=False), os.fstat(self._descriptor)):
                return
        raise StoreError(f"{self.path} was removed during the run; writing stopped, run the command again")

    def release(self) -> None:
        """Release the lock; the empty file stays."""
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _keep_beating(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with suppress(OSError):  # a full disk must not stop the writer: the kernel lock still holds
                self._beat()

    def _beat(self) -> None:
        owner = {
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "pid": os.getpid(),
            "pid_started": _process_start(),
            "token": self._token,
            "started": self._started,
            "heartbeat": time.time(),
        }
        content = json.dumps(owner).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))
        os.fsync(self._descriptor)  # so that other hosts see it


def boot_id() -> str:
    """Identity of the running kernel; containers of one machine share it, and flock works between them."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _process_start() -> int:
    """Start time of this process in clock ticks since boot, which distinguishes reused pids; 0 if unknown."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def _open(path: Path) -> int:
    if os.name == "nt":
        raise StoreError(
            "writing to a feature store needs POSIX file locks; on Windows use WSL, or only read the store"
        )
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(str(path), _MAX_BYTES, path.parent, f" ({error.strerror})") from error
        raise StoreError(f"cannot lock the store: {path}: {error.strerror}") from error


def _flock(descriptor: int, path: Path) -> None:
    import fcntl  # not available on Windows, where stores are read-only

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _held(_owner(descriptor), path) from error
    except OSError as error:
        raise StoreError(
            f"{path}: this file system does not support file locks ({error.strerror}); use another one"
        ) from error


def _owner(descriptor: int) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        owner = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
        if isinstance(owner, dict):
            return owner
    return {}


def _refuse_other_host(owner: dict[str, Any], path: Path) -> None:
    """Raise StoreError when the file names another host, or this one before it was started, and changes meanwhile."""
    if owner.get("boot_id") == boot_id() or not isinstance(owner.get("heartbeat"), float):
        return
    end = time.monotonic() + OBSERVED_S
    while time.monotonic() < end:
        time.sleep(POLL_S)
        now = _reopened(path)
        if now != owner and now:
            raise _held(now, path)


def _reopened(path: Path) -> dict[str, Any]:
    """The owner in the file; a network file system asks its server when a file is opened, not when it is read."""
    descriptor = _open(path)
    try:
        return _owner(descriptor)
    finally:
        os.close(descriptor)


def _held(owner: dict[str, Any], path: Path) -> StoreError:
    host, pid = str(owner.get("host", "an unknown host"))[:80], str(owner.get("pid", "?"))[:20]
    return StoreError(f"{path.parent} is being written by process {pid} on {host}; wait until it ends, or stop it")
