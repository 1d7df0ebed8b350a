"""Recordings by name: a key as in scores.csv, a path that ends alike, or a unique file name."""

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

SHOWN = 3
"""Candidates that a message about an ambiguous name lists."""


class Names:
    """Keys of recordings, and the ones that a name fits.

    A name fits a key when one path is the end of the other by whole parts: `data/fan/1.wav` and `1.wav` fit
    `fan/1.wav`, `pump/1.wav` does not.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = set(keys)
        self.of_name: dict[str, list[str]] = {}
        for key in sorted(self.keys):
            self.of_name.setdefault(PurePosixPath(key).name, []).append(key)

    def fitting(self, name: str) -> list[str]:
        """The key itself, or else the keys with the longest common end, sorted; empty where none fits."""
        if name in self.keys:
            return [name]
        parts = _parts(name)
        fits: dict[int, list[str]] = {}
        for key in self.of_name.get(parts[-1], []) if parts else []:
            of_key = key.split("/")
            common = min(len(parts), len(of_key))
            if parts[-common:] == of_key[-common:]:
                fits.setdefault(common, []).append(key)
        return fits[max(fits)] if fits else []


def _parts(name: str) -> list[str]:
    """The parts of a path, `.` and `..` resolved; a leading `..` says nothing of the folder below it."""
    parts = PurePosixPath(posixpath.normpath(name.replace("\\", "/"))).parts if name else ()
    return [part for part in parts if part != ".."]


def several(fitting: Sequence[str], what: str) -> str:
    """That a name fits more than one key, and the first of them."""
    rest = len(fitting) - SHOWN
    more = f" and {rest:,} more" if rest > 0 else ""
    return f"fits {len(fitting):,} {what}: {', '.join(map(repr, fitting[:SHOWN]))}{more}"
