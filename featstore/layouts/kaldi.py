"""Recordings listed in a Kaldi .scp file, and their windows, listed in a `segments` file beside it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from featstore.clip import Window, checked_path, window_of
from featstore.errors import DataError
from featstore.layouts.listed import Disk, check_paths
from featstore.layouts.manifest import checked_window, seconds
from featstore.layouts.tree import AUDIO_SUFFIXES, Tree, is_audio, is_unread, notes_on_unread
from featstore.terminal.shown import counted

SCP_SUFFIX = ".scp"
SEGMENTS = "segments"


def read_scp(path: Path) -> Tree:
    """Recordings of a Kaldi list with lines `key path`; the path is the rest of the line.

    Paths are relative to the list's folder; absolute paths must be below it. Keys must be unique and are not stored: a
    clip's key is its path. Commands ("... |") are refused and never run. A layout then reads the paths. Where a file
    `segments` lies beside the list, only the windows that it names are clips.
    """
    root = path.parent
    disk = Disk(root)
    places = {key: (where, _scp_path(where, target, disk)) for where, key, target in _lines(path)}
    if not places:
        raise DataError(f"{path}: empty; expected lines with a key and the path of a recording")
    notes = [f"{counted(len(places), 'recording')} listed in {path}", *check_paths(disk, places.values())]
    notes += notes_on_unread(place for _, place in places.values())
    segments = path.with_name(SEGMENTS)
    if not os.path.lexists(segments):
        return Tree(root, audio=sorted(place for _, place in places.values()), notes=notes, listed_in=path)
    windows = _windows(segments, {key: place for key, (_, place) in places.items()}, path)
    notes.append(
        f"{counted(sum(map(len, windows.values())), 'window')} of {len(windows):,} of them listed in {segments}"
    )
    return Tree(root, audio=sorted(windows), notes=notes, listed_in=path, windows=windows)


def _windows(segments: Path, recordings: dict[str, str], scp: Path) -> dict[str, list[Window]]:
    """Path of a recording -> its windows, from lines `utterance recording start end` with times in seconds."""
    windows: dict[str, list[Window]] = {}
    seen: dict[str, str] = {}
    for where, utterance, rest in _lines(segments):
        fields = rest.split()
        if len(fields) != 3:
            raise DataError(f"{where}: expected `utterance recording start end`, got {len(fields) + 1} fields")
        recording, *times = fields
        if recording not in recordings:
            raise DataError(f"{where}: recording {recording!r} of {utterance!r} is not in {scp}")
        start_s, end_s = (seconds(f"{where}, {name}", text) for name, text in zip(("start", "end"), times, strict=True))
        path = checked_window(f"{where}, end", recordings[recording], start_s, end_s)
        if path in seen:
            raise DataError(f"{where}: this window of {recording!r} is already on {seen[path]}; keep one")
        seen[path] = where.rpartition(", ")[2]
        window = window_of(path)
        assert window is not None
        windows.setdefault(recordings[recording], []).append(window)
    if not windows:
        raise DataError(f"{segments}: empty; expected lines `utterance recording start end`, or remove it")
    return windows


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Place, first word and rest of every line that is not empty; DataError if a first word occurs twice."""
    if not path.is_file():
        raise DataError(f"{path}: expected a file with a line per entry, got a folder, a pipe or a link to nothing")
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    keys: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        key, *rest = re.split(r"[ \t]+", line.strip(" \t\r"), maxsplit=1)
        if not key:
            continue
        where = f"{path}, line {number}"
        if keys.setdefault(key, number) != number:
            raise DataError(f"{where}: key {key!r} is already on line {keys[key]}; keys must be unique")
        yield where, key, "".join(rest)


def _scp_path(where: str, target: str, disk: Disk) -> str:
    if target.endswith("|"):
        raise DataError(f"{where}: {target!r} is a command; expected the path of a recording")
    if target.startswith("/"):
        target = os.path.relpath(target, disk.root.resolve())
    place = disk.spelt(where, target)
    if not is_audio(place) and not is_unread(place):
        raise DataError(f"{where}: expected a key and a path that ends in {' '.join(AUDIO_SUFFIXES)}; got {target!r}")
    return checked_path(place)
