"""Publish a manifest: only on top of the state that it was made from, so no writer undoes what another published.

The lock keeps writers apart. Where it fails, as flock may on a network file system, this does: a manifest is created
exclusively under the number after that of its parent, while the parent is the newest. Afterwards the writer looks
again. Another writer may have published several manifests since its list and pruned the first of them, so that the
number was free again.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featstore.disk.files import check_space, explained, sync_directory, write_exclusive
from featstore.disk.head import FILE, read_head, write_head
from featstore.disk.manifest import (
    FORMAT,
    MAX_MANIFEST_BYTES,
    MAX_NUMBER,
    VERSION,
    Manifest,
    ShardEntry,
    load,
    name_of,
    numbered,
    without_name,
)
from featstore.disk.sealed import canonical, seal
from featstore.disk.shard import EmbeddingInfo
from featstore.errors import ResourceError, StoreError

KEEP = 3
"""Number of manifests kept after a commit, including the newest."""


class Overtaken(StoreError):
    """Raised when another writer has published since this one read the store."""


def publish(
    root: Path,
    old: Manifest,
    shards: tuple[ShardEntry, ...],
    infos: Mapping[str, EmbeddingInfo],
    *,
    above: int = 0,
) -> Manifest:
    """Write the successor of `old`, then the head record, both durably; this is the moment of a commit.

    above: a number that the new manifest exceeds, that of a lost one. Raises Overtaken when `old` is not the newest
    manifest, and StoreError when a shard that the new one would name is missing.
    """
    _refuse_unless_newest(root, old, above)
    number = max(old.number, above) + 1
    if number > MAX_NUMBER:
        raise StoreError(f"{root}: manifest {old.number} has the highest possible number; build into a new store")
    _check_shards(root, shards)
    new, data = _successor(number, old, shards, infos)
    path = root / "manifest" / name_of(number)
    check_space(path.name, len(data), path.parent)
    with explained(str(path), len(data), path.parent):
        try:
            write_exclusive(path, data)
        except FileExistsError as error:
            raise _overtaken(root) from error
    _confirm(path, old, new)
    write_head(root, new)
    return new


def finish(root: Path, manifest: Manifest) -> None:
    """Write the head record for the newest manifest in place of a writer that was killed before it did.

    Not while a shard is missing, because its writer is about to withdraw the manifest. Raises Overtaken when it is
    withdrawn meanwhile.
    """
    try:
        _check_shards(root, manifest.shards)
    except StoreError:
        return
    write_head(root, manifest)
    if manifest.number not in numbered(root):
        _take_back_head(root, manifest)
        raise _overtaken(root)


def prune(root: Path, newest: int, keep: int = KEEP) -> None:
    """Remove all but the `keep` highest manifests up to `newest`; files that cannot be removed are harmless."""
    past = [path for number, path in numbered(root).items() if number <= newest][keep:]
    for path in reversed(past):  # the oldest first, so that those that are left follow each other
        with suppress(OSError):
            path.unlink()


def _overtaken(root: Path) -> Overtaken:
    return Overtaken(
        f"{root}: another writer has published since this one read the store, so nothing was written now; nothing of "
        "the other's is lost. Run the command again; if it happens again, two hosts write this store at once"
    )


def _refuse_unless_newest(root: Path, old: Manifest, above: int) -> None:
    try:
        head = read_head(root)  # on a network file system a file is fresher than a list
    except StoreError:
        head = None  # damaged: a repair is running
    if head is not None and head.number > max(old.number, above):
        raise _overtaken(root)
    files = numbered(root)
    highest = max(files, default=0)
    if highest and files[highest].is_dir():
        raise StoreError(
            f"{files[highest]} is a folder where a manifest belongs, so nothing was written; featstore "
            "repair moves it away"
        )
    try:
        newest = load(files[highest]).checksum if highest else ""
    except (StoreError, FileNotFoundError) as error:  # being written in place, or removed because newer ones exist
        raise _overtaken(root) from error
    if newest != old.checksum:
        raise _overtaken(root)


def _check_shards(root: Path, shards: Iterable[ShardEntry]) -> None:
    """StoreError unless every shard file exists with its size: another writer may have removed it as a leftover."""
    folder = str(root / "shards")
    for entry in shards:
        path = os.path.join(folder, entry.file)  # noqa: PTH118 - a Path per shard doubles the time of a commit
        try:
            found = os.lstat(path)
        except OSError as error:
            raise StoreError(f"{path} is missing ({error.strerror}), {_CURE}") from error
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.bytes:
            raise StoreError(f"{path} has {found.st_size} bytes, expected {entry.bytes}, {_CURE}")


_CURE = (
    "so nothing was published; run the command again, and if that fails, remove the shard with featstore repair and "
    "build again"
)


def _successor(
    number: int, old: Manifest, shards: tuple[ShardEntry, ...], infos: Mapping[str, EmbeddingInfo]
) -> tuple[Manifest, bytes]:
    unsealed: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "number": number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "parent": old.checksum,
        "shards": [vars(entry) for entry in shards],
        "embeddings": {name: without_name(info) for name, info in infos.items()},
    }
    raw = seal(unsealed)
    data = canonical(raw)
    if len(data) > MAX_MANIFEST_BYTES:
        raise StoreError(f"the manifest would take {len(data)} bytes (limit {MAX_MANIFEST_BYTES}); compact the store")
    return Manifest(number, raw["created"], old.checksum, raw["checksum"], shards, dict(infos)), data


def _confirm(path: Path, old: Manifest, new: Manifest) -> None:
    """Withdraw the manifest at `path` and raise unless it counts: it is the newest, or a newer one was made from it."""
    root = path.parent.parent
    files = numbered(root)
    higher = [files[number] for number in files if number > new.number]
    if any(_made_from(file, new) for file in higher):
        return
    try:
        if higher or new.number not in files:
            raise _overtaken(root)
        known = set(old.shards)
        _check_shards(root, [entry for entry in new.shards if entry not in known])
    except StoreError:
        with suppress(OSError):
            path.unlink()
            sync_directory(path.parent)
        _take_back_head(root, new)
        raise


def _take_back_head(root: Path, withdrawn: Manifest) -> None:
    """Let the head record name the parent of a manifest that was withdrawn, if another writer wrote it for that one."""
    with suppress(StoreError, ResourceError, OSError):
        head = read_head(root)
        if head is None or head.manifest != withdrawn.checksum:
            return
        if not withdrawn.parent:
            (root / FILE).unlink()
        for file in numbered(root).values():
            with suppress(StoreError, FileNotFoundError):
                parent = load(file)
                if parent.checksum == withdrawn.parent:
                    write_head(root, parent)


def _made_from(file: Path, parent: Manifest) -> bool:
    with suppress(StoreError, OSError):
        return load(file).parent == parent.checksum
    return False
