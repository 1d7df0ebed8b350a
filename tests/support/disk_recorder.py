"""Records what a program does to the files below a folder: contents, names, and what it has synced."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

IGNORED = {"lock"}
"""The lock is written in place all the time, and its content need not survive."""


@dataclass(frozen=True)
class Event:
    """One step; file: a number for the content, which stays when a name is linked or moved. site: line that synced.

    kind: found (before the recording; a folder has the file -1), data (content written), sync, create, link, move (path
    to target), remove, mkdir, syncdir, mark (a label).
    """

    kind: str
    path: str = ""
    target: str = ""
    file: int = -1
    content: bytes = b""
    site: str = ""


@dataclass
class Recorder:
    """The steps below `root`, in order."""

    root: Path
    events: list[Event] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note what is there already, as durable."""
        for path in sorted(self.root.rglob("*")):
            name = self.relative(path)
            if name is not None:
                file = len(self.contents) if path.is_file() else -1
                content = path.read_bytes() if path.is_file() else b""
                self.events.append(Event("found", name, file=file, content=content))
                if path.is_file():
                    self.names[name], self.contents[file] = file, content

    def mark(self, label: str) -> None:
        """Note that something was acknowledged."""
        self.events.append(Event("mark", label))

    def written(self, path: Path, *, synced: bool = False) -> None:
        """Note the content of a file that something else has changed."""
        name = self.relative(path)
        if name is None or not path.is_file():
            return
        file, content = self.known(name), path.read_bytes()
        if self.contents.get(file) != content:
            self.contents[file] = content
            self.events.append(Event("data", name, file=file, content=content))
        if synced:
            self.events.append(Event("sync", name, file=file, content=content, site=_site()))

    def known(self, name: str) -> int:
        """The number of the file with a name; a new one where its creation was not seen."""
        if name not in self.names:
            self.names[name] = len(self.contents)
            self.contents[self.names[name]] = b""
            self.events.append(Event("create", name, file=self.names[name]))
        return self.names[name]

    def relative(self, path: Any) -> str | None:
        """A path below the root as text, None for every other."""
        try:
            name = Path(os.path.abspath(os.fspath(path))).relative_to(self.root).as_posix()  # noqa: PTH100
        except (TypeError, ValueError):
            return None
        return None if Path(name).name in IGNORED else name


def _site() -> str:
    """The line of the package that asked for a sync."""
    frame = sys._getframe(1)
    while Path(frame.f_code.co_filename).name == Path(__file__).name or frame.f_code.co_name == "sync_directory":
        assert frame.f_back is not None
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _path(descriptor: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115


@contextmanager
def recording(root: Path) -> Iterator[Recorder]:
    """Record the block; nothing is really synced meanwhile."""
    recorder = Recorder(root.resolve())
    real = {name: getattr(os, name) for name in ("open", "mkdir", "link", "unlink", "replace")}

    def create(path: Any, flags: int, *args: Any, **options: Any) -> int:
        name = recorder.relative(path)
        new = name is not None and flags & os.O_CREAT and not os.path.lexists(path)
        descriptor: int = real["open"](path, flags, *args, **options)
        if new and name is not None:
            recorder.known(name)
        return descriptor

    def changing(function: Callable[..., Any]) -> Callable[..., Any]:
        def changed(descriptor: int, *args: Any) -> Any:
            result = function(descriptor, *args)
            recorder.written(_path(descriptor))
            return result

        return changed

    def sync(descriptor: int) -> None:
        path = _path(descriptor)
        name = recorder.relative(path)
        if name is not None and path.is_dir():
            recorder.events.append(Event("syncdir", name, site=_site()))
        elif name is not None:
            recorder.written(path, synced=True)

    def link(source: Any, target: Any, **options: Any) -> None:
        recorder.written(Path(source))
        real["link"](source, target, **options)
        old, new = recorder.relative(source), recorder.relative(target)
        if new is not None:
            recorder.names[new] = recorder.known(old or f"outside/{source}")
            recorder.events.append(Event("link", new, file=recorder.names[new]))

    def move(source: Any, target: Any) -> None:
        recorder.written(Path(source))
        real["replace"](source, target)
        old, new = recorder.relative(source), recorder.relative(target)
        if old is not None and new is not None:
            recorder.names[new] = recorder.names.pop(old, -1)
            recorder.events.append(Event("move", old, new, recorder.names[new]))

    def remove(path: Any, **options: Any) -> None:
        real["unlink"](path, **options)
        name = recorder.relative(path)
        if name is not None and not options and recorder.names.pop(name, None) is not None:
            recorder.events.append(Event("remove", name))

    def mkdir(path: Any, *args: Any, **options: Any) -> None:
        real["mkdir"](path, *args, **options)
        name = recorder.relative(path)
        if name is not None:
            recorder.events.append(Event("mkdir", name))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "pwrite", "ftruncate"):
            patch.setattr(os, name, changing(getattr(os, name)))
        for name, function in {
            "open": create, "fsync": sync, "link": link, "replace": move, "rename": move, "unlink": remove,
            "remove": remove, "mkdir": mkdir,
        }.items():  # fmt: skip
            patch.setattr(os, name, function)
        yield recorder
