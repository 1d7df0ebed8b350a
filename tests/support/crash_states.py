"""What a disk may hold after a power loss, from a recording: unsynced contents and names may be lost or torn."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from disk_recorder import Event

Disk = dict[str, bytes | None]
"""Content by path; None is a folder."""


@dataclass
class Unsynced:
    """The state of a disk amid a recording: what is durable, and what was done since."""

    durable: dict[int, bytes] = field(default_factory=dict)
    latest: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int | None] = field(default_factory=dict)
    pending: list[Event] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        """Take in one step."""
        if event.kind == "found":
            self.names[event.path] = None if event.file < 0 else event.file
            self.durable[event.file] = self.latest[event.file] = event.content
        elif event.kind == "data":
            self.latest[event.file] = event.content
        elif event.kind == "sync":
            self.durable[event.file] = self.latest[event.file] = event.content
        elif event.kind == "syncdir":
            for step in [step for step in self.pending if folder_of(step) == event.path]:
                _rename(self.names, step)
                self.pending.remove(step)
        elif event.kind != "mark":
            self.pending.extend(_split(event))

    def torn(self) -> list[int]:
        """Files whose last content is not durable."""
        return [file for file, content in self.latest.items() if self.durable.get(file) != content]


def _split(event: Event) -> list[Event]:
    """A move between folders is two steps, of which a crash may leave one."""
    if event.kind != "move" or folder_of(event) == str(PurePosixPath(event.target).parent):
        return [event]
    return [Event("link", event.target, file=event.file), Event("remove", event.path)]


def folder_of(event: Event) -> str:
    """The folder that holds the name of a step."""
    return str(PurePosixPath(event.path).parent)


def _rename(names: dict[str, int | None], step: Event) -> None:
    if step.kind in ("create", "link"):
        names[step.path] = step.file
    elif step.kind == "mkdir":
        names[step.path] = None
    elif step.kind == "remove":
        names.pop(step.path, None)
    elif step.kind == "move":
        names.pop(step.path, None)
        names[step.target] = step.file


def crash_states(events: Sequence[Event], rng: random.Random, samples: int = 2) -> Iterator[tuple[list[str], Disk]]:
    """What a crash may leave after every prefix of `events`, each with the labels that were marked before it."""
    disk, marks = Unsynced(), list[str]()
    for event in [Event("mark"), *events]:
        disk.apply(event)
        if event.kind == "mark" and event.path:
            marks.append(event.path)
        everything = set(range(len(disk.pending)))
        kept = [set[int](), everything, *({*everything} - {i} for i in everything)]
        kept += [{i for i in everything if rng.random() < 0.5} for _ in range(samples)]
        for steps in kept:
            for how in ("lost", "half", "zeros", "whole", "mixed"):
                if how == "lost" or (disk.torn() and (steps == everything or how == "mixed")):
                    yield list(marks), _on_disk(disk, steps, how, rng)


def _on_disk(disk: Unsynced, steps: set[int], how: str, rng: random.Random) -> Disk:
    names = dict(disk.names)
    for i, step in enumerate(disk.pending):
        if i in steps:
            _rename(names, step)
    torn = set(disk.torn())
    result: Disk = {}
    for name, file in names.items():
        if file is None:
            result[name] = None
        elif file in torn:
            choice = rng.choice(("lost", "half", "zeros", "whole")) if how == "mixed" else how
            result[name] = _content(disk.durable.get(file, b""), disk.latest[file], choice)
        else:
            result[name] = disk.durable.get(file, b"")
    folders = {name for name, content in result.items() if content is None} | {"."}
    return {name: content for name, content in result.items() if _reachable(name, folders)}


def _reachable(name: str, folders: set[str]) -> bool:
    return all(str(parent) in folders for parent in PurePosixPath(name).parents)


def _content(durable: bytes, latest: bytes, choice: str) -> bytes:
    return {"lost": durable, "half": latest[: len(latest) // 2], "zeros": bytes(len(latest)), "whole": latest}[choice]


def lay_out(disk: Disk, root: Path) -> None:
    """Write a disk to a new folder."""
    root.mkdir()
    for name, content in sorted(disk.items()):
        if content is None:
            (root / name).mkdir()
    for name, content in disk.items():
        if content is not None:
            (root / name).write_bytes(content)
