"""Remove what a killed writer left, but nothing that another writer publishes at the same moment."""

import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from featstore.disk.files import ASIDE_SUFFIX, TEMPORARY_SUFFIX, sync_directory
from featstore.disk.manifest import load, numbered
from featstore.errors import StoreError


def remove_leftovers(root: Path) -> None:
    """Remove the temporary files of the store at `root`, and the shards that no manifest names."""
    for folder in (root, root / "shards", root / "manifest"):
        for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
            _remove(path)
    remove_unnamed(root, (root / "shards").glob("*.h5"))


def unnamed(root: Path, shards: Iterable[Path]) -> list[Path]:
    """Those of `shards` that no manifest names; none while a manifest is unreadable, because it may name them."""
    listed = list(shards)  # before the manifests, so that a shard of a later commit is not among them
    try:
        named = {entry.file for path in numbered(root).values() for entry in load(path).shards}
    except (StoreError, FileNotFoundError):
        return []
    return [path for path in listed if path.name not in named]


def remove_unnamed(root: Path, shards: Iterable[Path]) -> None:
    """Remove those of `shards` that no manifest names.

    Each is set aside before the manifests are read again: a writer that has published it meanwhile gets it back, one
    that publishes it later finds it missing.
    """
    aside: dict[Path, Path] = {}
    free: set[Path] = set()
    found = unnamed(root, shards)
    if found:
        with suppress(OSError):
            sync_directory(root / "manifest")  # a power loss must not bring back a manifest without its shards
    try:
        for path in found:
            # Each time another name, so that only the writer that chose it removes the file.
            aside[path] = path.with_name(f"{path.name}.{secrets.token_hex(4)}{ASIDE_SUFFIX}")
            with suppress(OSError):
                path.replace(aside[path])
        free = set(unnamed(root, aside))
    finally:
        for path, away in aside.items():
            if path in free:
                _remove(away)
            else:
                _put_back(path, away)


def put_back_aside(root: Path) -> None:
    """Give every shard that is set aside its name back; the writer that did it was killed, or removes it later."""
    for away in (root / "shards").glob(f"*.h5.*{ASIDE_SUFFIX}"):
        _put_back(away.with_name(away.name.partition(".h5.")[0] + ".h5"), away)


def is_aside(path: Path) -> bool:
    """Whether the shard `path` is set aside."""
    return bool(list(path.parent.glob(f"{path.name}.*{ASIDE_SUFFIX}")))


def _put_back(path: Path, away: Path) -> None:
    with suppress(OSError):
        if not path.exists():
            away.replace(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
