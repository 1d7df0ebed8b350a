"""Remove what a killed writer left, but nothing that another writer publishes at the same moment."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from featstore.disk.files import TEMPORARY_SUFFIX, sync_directory
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
    aside = {}
    found = unnamed(root, shards)
    if found:
        with suppress(OSError):
            sync_directory(root / "manifest")  # a power loss must not bring back a manifest without its shards
    for path in found:
        with suppress(OSError):
            aside[path] = path.replace(path.with_name(path.name + TEMPORARY_SUFFIX))
    free = set(unnamed(root, aside))
    for path, temporary in aside.items():
        if path in free:
            _remove(temporary)
        else:
            with suppress(OSError):
                temporary.replace(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
