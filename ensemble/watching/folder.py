"""Looks at a folder: the audio files below it with their versions, and which of them are ready to be scored.

A full look lists every folder and calls `stat` for every file; other looks leave out the `stat` of old files that are
done. Hidden files and folders, links that lead out of the folder, and everything that is not a regular file are
ignored, as when a store is built.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from ensemble.watching.state import Known
from ensemble.watching.whole import Version, missing_bytes
from featstore.layouts.tree import is_audio, leads_out

LONGEST_PAUSE_S = 600.0


@dataclass(frozen=True)
class Look:
    """files: version by path relative to the root, with forward slashes. problems: folders that could not be read."""

    files: Mapping[str, Version]
    problems: tuple[str, ...] = ()


def look(root: Path, known: Mapping[str, Known] | None = None, trusted_until_ns: int = 0) -> Look:
    """All audio files below `root` at this moment.

    known: files that are done; their versions are not read again if they were last changed before `trusted_until_ns`.
    """
    known = known or {}
    files: dict[str, Version] = {}
    problems: list[str] = []
    real_root = os.path.realpath(root)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118 - Path objects per file are slow
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{folder}{entry.name}/")
                    elif is_audio(entry.name):
                        path = folder + entry.name
                        trusted = path in known and known[path].version.mtime_ns < trusted_until_ns
                        version = known[path].version if trusted else _version(entry, real_root)
                        if version is not None:
                            files[path] = version
        except OSError as error:
            if folder == "" or not isinstance(error, FileNotFoundError):  # a folder below may just have been removed
                problems.append(f"{os.path.join(root, folder)}: {error.strerror or error}")  # noqa: PTH118
    return Look(files, tuple(problems))


def _version(entry: os.DirEntry[str], real_root: str) -> Version | None:
    """Size and time of a regular file, or of a link to one inside the folder."""
    try:
        if not entry.is_file() or (entry.is_symlink() and leads_out(entry.path, real_root)):
            return None
        info = entry.stat()
    except OSError:  # removed meanwhile, or a link that leads in a circle
        return None
    return Version(info.st_size, info.st_mtime_ns)


@dataclass
class Waiting:
    """A version that is not done. since: clock when it was first seen. missing: bytes it lacks by its header."""

    version: Version
    since: float
    missing: int | None = None
    is_read: bool = False
    not_before: float = 0.0
    tries: int = 0


@dataclass
class Arrivals:
    """Files that wait until they are complete.

    A version is ready after `settle_s` seconds without a change, or after `glance_s` if its header states its length
    and no byte is missing. A file that lacks bytes by its header is ready after `give_up_s` seconds without a change:
    it is truncated, and scoring rejects it.
    """

    settle_s: float
    glance_s: float
    give_up_s: float
    waiting: dict[str, Waiting] = field(default_factory=dict)

    def update(self, seen: Look, known: Mapping[str, Known], now: float) -> None:
        """Add the files of a look at time `now`; missing files are forgotten if the whole folder could be read."""
        fresh: dict[str, Waiting] = {} if not seen.problems else dict(self.waiting)
        for path, version in seen.files.items():
            if path in known and known[path].version == version:
                continue
            before = self.waiting.get(path)
            fresh[path] = before if before and before.version == version else Waiting(version, now)
        self.waiting = fresh

    def ready(self, root: Path, now: float, wall: float) -> Iterator[tuple[str, Version]]:
        """Files to score now, oldest first; their headers are read as late as possible. wall: Unix time."""
        old = [
            item for item in self.waiting.items() if now - item[1].since >= self.glance_s and now >= item[1].not_before
        ]
        for path, waiting in sorted(old, key=lambda item: (item[1].version.mtime_ns, item[0])):
            unchanged_s = max(now - waiting.since, wall - waiting.version.mtime_ns / 1e9)
            if self._is_whole(root / path, waiting, now - waiting.since, unchanged_s):
                yield path, waiting.version

    def later(self, path: str, now: float) -> int:
        """Let a file that could not be opened wait longer each time; returns how often it was tried."""
        waiting = self.waiting[path]
        waiting.not_before = now + min(2.0**waiting.tries, LONGEST_PAUSE_S)
        waiting.tries += 1
        return waiting.tries

    def done(self, path: str) -> None:
        """Forget a file that is done or gone."""
        self.waiting.pop(path, None)

    def unsettled(self, now: float, latest: float) -> bool:
        """Whether a version first seen at `latest` or before may become ready by waiting for it to settle."""
        return any(waiting.since <= latest and now - waiting.since < self.settle_s for waiting in self.waiting.values())

    def due(self, now: float) -> float:
        """Seconds until a file may become ready; infinite where none can by waiting."""
        ages = (now - waiting.since for waiting in self.waiting.values())
        return min(
            (limit - age for age in ages for limit in (self.glance_s, self.settle_s) if age < limit), default=inf
        )

    def oldest(self) -> str:
        """The file that has waited longest; empty where none waits."""
        return min(self.waiting, key=lambda path: self.waiting[path].since, default="")

    def _is_whole(self, path: Path, waiting: Waiting, age: float, unchanged_s: float) -> bool:
        if not waiting.is_read:
            try:
                waiting.missing = missing_bytes(path, waiting.version.size)
            except OSError:
                waiting.missing = None  # scoring reports the error
            waiting.is_read = True
        if waiting.missing is None:
            return age >= self.settle_s
        return waiting.missing == 0 or unchanged_s >= self.give_up_s
