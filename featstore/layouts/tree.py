"""One walk over a folder of recordings: the audio files, the other files, and what was not read and why.

Nothing outside the root is read: links that lead out, devices, FIFOs and sockets are skipped and noted. Links to
folders inside the root are not followed, because the walk reaches those folders anyway; so no loop is endless and no
recording is listed twice.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from featstore.clip import Window
from featstore.terminal.shown import counted

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
)
"""Recordings, in folders, manifests and Kaldi lists; in any case."""

UNREAD_SUFFIXES = (
    *(".m4a", ".aac", ".mp4", ".mov", ".3gp", ".amr", ".wma", ".mkv", ".webm", ".mp2", ".ac3"),
    *(".ape", ".wv", ".voc", ".sph", ".raw", ".pcm"),
)
"""Sound that is not read: no decoder, or no header that states its length."""

CONVERT = "convert them to WAV or FLAC"
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".7z")
_KNOWN_SUFFIXES = frozenset({*AUDIO_SUFFIXES, ".csv"})


@dataclass(frozen=True)
class Tree:
    """Recordings below a root, or listed in a file.

    `audio` and `other` hold sorted paths relative to `root` with forward slashes. `listed_in` is the manifest or .scp
    file that lists the recordings, if any. `notes` say what was not read. `windows`: path -> windows, where only parts
    of recordings are listed.
    """

    root: Path
    audio: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed_in: Path | None = None
    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)

    @cached_property
    def context(self) -> str:
        """Names of the two folders above the root and of the root, as "a/b/root/": a root may be a machine folder."""
        return "".join(part + "/" for part in self.root.resolve().parts[1:][-3:])


def scan(root: Path) -> Tree:
    """Walk `root` once, without a stat per file.

    Hidden files and folders (also AppleDouble "._x.wav") are left out. Files with one of AUDIO_SUFFIXES are audio.
    """
    audio: list[str] = []
    other: list[str] = []
    skipped: dict[str, list[str]] = {}
    real_root = os.path.realpath(root)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder)))  # noqa: PTH118 - Path objects per file are slow
        except OSError as error:
            skipped.setdefault(f"folders that cannot be read ({error.strerror})", []).append(folder)
            continue
        for entry in entries:
            path = folder + entry.name
            if reason := _reason_to_skip(entry, real_root):
                skipped.setdefault(reason, []).append(path)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path + "/")
            else:
                (audio if is_audio(path) else other).append(path)
    return Tree(root, sorted(audio), sorted(other), [*_notes(skipped), *_notes_on_other(other)])


def is_audio(path: str) -> bool:
    """Whether the suffix is one of AUDIO_SUFFIXES, in any case."""
    return path.lower().endswith(AUDIO_SUFFIXES)


def stem(path: str) -> str:
    """File name without folders and without its audio or .csv suffix; other dots ("volt_1.5") are kept."""
    name = path.rpartition("/")[2]
    base, _, suffix = name.rpartition(".")
    return base if f".{suffix.lower()}" in _KNOWN_SUFFIXES else name


def is_unread(path: str) -> bool:
    """Whether the suffix is one of UNREAD_SUFFIXES, in any case."""
    return path.lower().endswith(UNREAD_SUFFIXES)


def notes_on_unread(paths: Iterable[str]) -> list[str]:
    """A note on recordings with one of UNREAD_SUFFIXES: how many of each."""
    unread = sorted(filter(is_unread, paths))
    if not unread:
        return []
    counts = Counter("." + path.lower().rpartition(".")[2] for path in unread)
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common())
    return [f"not read: {counted(len(unread), 'recording')} in other formats ({kinds}), first {unread[0]!r}; {CONVERT}"]


def leads_out(path: str, real_root: str) -> bool:
    """Whether `path`, with all links resolved, is outside `real_root`."""
    real = os.path.realpath(path)
    return real != real_root and not real.startswith(real_root.rstrip("/") + "/")


def _reason_to_skip(entry: os.DirEntry[str], real_root: str) -> str:
    if entry.name.startswith("."):
        return "hidden files or folders"
    if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
        return ""
    return _reason_to_skip_link(entry, real_root) if entry.is_symlink() else "devices, FIFOs or sockets"


def _reason_to_skip_link(entry: os.DirEntry[str], real_root: str) -> str:
    if leads_out(entry.path, real_root):
        return "links that lead outside the folder"
    try:
        if entry.is_file():
            return ""
        return "links to folders that are read themselves" if entry.is_dir() else "links that lead nowhere"
    except OSError:  # too many levels of links
        return "links that lead nowhere"


def _notes(skipped: dict[str, list[str]]) -> list[str]:
    return [f"not read: {len(paths):,} {reason}, first {min(paths)!r}" for reason, paths in sorted(skipped.items())]


def _notes_on_other(other: Sequence[str]) -> list[str]:
    archives = sorted(path for path in other if path.lower().endswith(ARCHIVE_SUFFIXES))
    cure = "unpack them to read their files"
    notes = [f"not read: {len(archives):,} archives, first {archives[0]!r}; {cure}"] if archives else []
    return [*notes, *notes_on_unread(other)]
