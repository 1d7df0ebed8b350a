"""Leases: which worker computes which unit, by lease files and heartbeats, without a shared clock.

    <unit>.<generation>.lease   created exclusively; names the worker that computes the unit
    <worker>.beat               heartbeat, rewritten by its worker every few seconds

A worker counts as dead when its heartbeat file is missing, or has not changed for LIMIT_S of the *watcher's* monotonic
clock. Another worker then claims the unit with the next generation; only one can create that file. If the first worker
was only slow, the unit is computed twice, which costs time but does no harm.
"""

import os
import re
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from featstore.disk.files import explained, read_regular, write_exclusive
from featstore.errors import StoreError

LIMIT_S = 30.0
BEATS_PER_LIMIT = 6
_LEASE_NAME = re.compile(r"([0-9]{8})\.([0-9]{4})\.lease")
_WORKER = re.compile(r"[0-9a-f]{32}")


class Leases:
    """The leases of this worker for the plan in `folder`; a context manager that releases them at its end."""

    def __init__(self, folder: Path, *, limit_s: float = LIMIT_S) -> None:
        self.folder, self.limit_s = folder, limit_s
        self.worker = secrets.token_hex(16)
        self._beats = 0
        self._watched: dict[str, tuple[bytes, float]] = {}  # by worker: its last heartbeat, and when it changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="featstore-lease", daemon=True)

    def __enter__(self) -> "Leases":
        with explained(str(self._beat_file), 16, self.folder):
            write_exclusive(self._beat_file, self._next_beat())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            self._beat_file.unlink()

    def held(self) -> dict[int, tuple[int, str]]:
        """The latest generation and lease file of every claimed unit."""
        latest: dict[int, tuple[int, str]] = {}
        if not self.folder.exists():  # the plan was removed
            return latest
        for match in filter(None, (_LEASE_NAME.fullmatch(path.name) for path in self.folder.iterdir())):
            unit, generation = int(match[1]), int(match[2])
            latest[unit] = max(latest.get(unit, (-1, "")), (generation, match[0]))
        return latest

    def claim(self, unit: int, held: tuple[int, str] | None = None) -> bool:
        """Claim a unit; `held` is its entry of `held()`. Returns whether this worker now has the lease.

        False while another owner is alive, or when another worker was faster. The worker may claim its own unit again,
        because its first result may have been refused.
        """
        if held is not None and not self._is_free(held[1]):
            return False
        generation = 0 if held is None else held[0] + 1
        path = self.folder / f"{unit:08d}.{generation:04d}.lease"
        try:
            with explained(str(path), len(self.worker), self.folder):
                write_exclusive(path, self.worker.encode())
        except StoreError:
            if path.exists() or not self.folder.exists():
                return False
            raise
        return True

    def _is_free(self, lease: str) -> bool:
        """Whether a lease is this worker's own, or its owner counts as dead."""
        owner, now = self._owner(lease), time.monotonic()
        if owner == self.worker:
            return True
        beat = self._read(f"{owner}.beat") if owner else b""
        if beat is None:
            return True
        watched, since = self._watched.get(owner or lease, (None, now))
        if watched != beat:
            self._watched[owner or lease] = (beat, now)
            return False
        return now - since >= self.limit_s

    def _owner(self, lease: str) -> str:
        """The worker that a lease names; an empty text when the lease is incomplete or invalid."""
        text = (self._read(lease) or b"").decode("ascii", "replace")
        return text if _WORKER.fullmatch(text) else ""

    def _read(self, name: str) -> bytes | None:
        """Content of a small file in the folder; None when it is missing."""
        try:
            return read_regular(self.folder / name, 64)
        except FileNotFoundError:
            return None
        except StoreError:
            return b""

    @property
    def _beat_file(self) -> Path:
        return self.folder / f"{self.worker}.beat"

    def _next_beat(self) -> bytes:
        self._beats += 1
        return f"{self._beats:016d}".encode()

    def _keep_beating(self) -> None:
        while not self._stop.wait(self.limit_s / BEATS_PER_LIMIT):
            with suppress(OSError):  # written in place, so a full disk does not stop it
                descriptor = os.open(self._beat_file, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
                try:
                    os.pwrite(descriptor, self._next_beat(), 0)
                finally:
                    os.close(descriptor)
