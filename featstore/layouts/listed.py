"""Paths in lists of recordings, checked and spelt as the disk spells them, and texts as long as a store holds."""

import os
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from featstore.clip import MAX_TEXT_BYTES, Clip, attributes_text, recording_of
from featstore.errors import DataError
from featstore.layouts.tree import leads_out
from featstore.terminal.shown import one_line


class Disk:
    """The files below a root. Each folder is listed once, which is faster than a stat per file."""

    def __init__(self, root: Path) -> None:
        self.root, self.real_root = root, os.path.realpath(root)
        self._folders: dict[str, dict[str, os.DirEntry[str]]] = {}

    def entry(self, path: str) -> os.DirEntry[str] | None:
        """The entry of a path, which leads nowhere outside the root; None where there is none."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._entries(folder)
        return self._folders[folder].get(name)

    def leads_out(self, path: str) -> bool:
        """Whether the folder of a path is a link out of the root."""
        return leads_out(str(self.root / path.rpartition("/")[0]), self.real_root)

    def _entries(self, folder: str) -> dict[str, os.DirEntry[str]]:
        if leads_out(str(self.root / folder), self.real_root):
            return {}
        try:
            return {entry.name: entry for entry in os.scandir(self.root / folder)}
        except OSError:
            return {}

    def spelt(self, where: str, path: str) -> str:
        """The path as the disk spells it; in its shortest form as it is listed, where no spelling is there.

        Other spellings: with slashes for backslashes (Windows), and with composed or decomposed letters (macOS).
        DataError as `relative_path`.
        """
        listed = relative_path(where, path)
        if self.entry(listed) is not None:
            return listed
        for other in _spellings(path):
            spelling = relative_path(where, other)
            if self.entry(spelling) is not None:
                return spelling
        return listed


def _spellings(path: str) -> Iterator[str]:
    for slashed in dict.fromkeys((path, path.replace("\\", "/"))):
        yield slashed
        if not slashed.isascii():
            yield from (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))


def relative_path(where: str, path: str) -> str:
    """The path in its shortest form; DataError where it can lead out of the folder of the list."""
    if not path or "\0" in path:
        raise DataError(f"{where}: expected the path of a recording, got {path!r}")
    if path.startswith(("/", "\\\\")) or path[1:3] in (":\\", ":/"):
        raise DataError(f"{where}: {path!r} is absolute; give it relative to the folder of the list")
    if ".." in path.split("/"):
        raise DataError(f"{where}: {path!r} contains '..'; recordings must be below the folder of the list")
    return posixpath.normpath(path)


def check_paths(disk: Disk, places: Iterable[tuple[str, str]]) -> list[str]:
    """A note about missing files, which a build rejects; DataError for duplicates and for what is no file on `disk`.

    places: where a path is listed, and the path, which may name a window.
    """
    seen: dict[str, str] = {}
    recordings: dict[str, str] = {}
    missing = []
    for where, path in places:
        if path in seen:
            raise DataError(f"{where}: {path!r} is already listed at {seen[path].rpartition(', ')[2]}; keep one")
        seen[path] = where
        recordings.setdefault(recording_of(path), where)
    for path, where in recordings.items():
        entry = disk.entry(path)
        if entry is None and disk.leads_out(path):
            folder = str(disk.root / path.rpartition("/")[0])
            raise DataError(f"{where}: folder {folder!r} is a link that leads out of the folder of the list; copy it")
        if entry is None:
            missing.append(path)
        elif (entry.is_symlink() and leads_out(entry.path, disk.real_root)) or not entry.is_file():
            raise DataError(
                f"{where}: {path!r} is not a file below {disk.root}; devices and links that lead out are not read"
            )
    if not missing:
        return []
    slashes = "; paths with backslashes need slashes on this system" if "\\" in missing[0] else ""
    return [f"{len(missing):,} listed recordings are missing, first {missing[0]!r}{slashes}"]


def check_texts(clips: Iterable[Clip]) -> None:
    """Raise DataError with the clip that has a longer text than a store can hold."""
    for clip in clips:
        texts = {"path": clip.path, "machine": clip.machine, "section": clip.section}
        for name, text in {**texts, "attributes as JSON": attributes_text(clip)}.items():
            size = len(text.encode("utf-8", "surrogateescape"))
            if size > MAX_TEXT_BYTES:
                raise DataError(
                    f"{one_line(clip.path, 200)}: {name} of {size:,} bytes; a store holds at most {MAX_TEXT_BYTES:,}; "
                    "shorten it in the list, or leave the clip out"
                )
