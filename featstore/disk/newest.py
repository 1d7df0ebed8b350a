"""Which manifest is the state of a store, and whether it is the last one that was published."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from featstore.disk.files import read_regular
from featstore.disk.head import FILE, Head, read_head
from featstore.disk.manifest import Manifest, UnknownVersion, load, name_of, numbered
from featstore.disk.shard import MAX_SHARD_BYTES, open_image
from featstore.disk.shard_name import names_content, number_of
from featstore.errors import RequestError, StoreError
from featstore.terminal.shown import counted


@dataclass(frozen=True)
class Newest:
    """The highest valid manifest.

    skipped: errors of the higher ones, by number. lost: why a state that was published later is missing or may be,
    empty when there is none. published: number of the manifest that the head record names, 0 without one; in a store
    that has lost a state at least the number of its shards.
    """

    manifest: Manifest
    skipped: Mapping[int, str] = field(default_factory=dict)
    lost: str = ""
    published: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        errors = list(self.skipped.values())
        return tuple(errors if not self.lost or self.lost in errors else [*errors, self.lost])

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the damaged manifests that were never published completely."""
        return [] if self.lost else list(self.skipped)


def find_newest(root: Path) -> Newest:
    """The newest valid manifest of the store at `root`; StoreError when there is none, RequestError when no store."""
    for directory in (root / "manifest", root / "shards"):
        if directory.is_symlink():
            raise StoreError(f"{directory} is a symbolic link; a store must hold its own files")
    for _ in range(10):
        shards = _shard_files(root)  # first, so that none of them belongs to a commit after the newest manifest
        head = _head(root)  # read before the list, so that a commit between both makes it older, never newer
        files = numbered(root)
        skipped: dict[int, str] = {}
        for number, path in files.items():
            try:
                manifest = load(path)
            except FileNotFoundError:
                break  # a writer has just removed it: newer ones exist, list again
            except UnknownVersion:
                raise
            except StoreError as error:
                skipped[number] = str(error)
                continue
            later = _later_shard(root, manifest, shards, head)
            published = max(head.number if isinstance(head, Head) else 0, number_of(later))
            lost = _lost(root, manifest, skipped, head) or _outdated(root, manifest, later)
            return Newest(manifest, skipped, lost, published)
        else:
            if files and head is None and not _holds_shards(root):
                return Newest(Manifest(), skipped)  # the first writer stopped amid the first, empty manifest
            if files:
                raise StoreError(f"{root} has no valid manifest: {'; '.join(skipped.values())}; {_cure(root)}")
            return Newest(_empty(root, head))
    raise StoreError(f"the manifests of {root} change faster than they can be read; try again")


def _head(root: Path) -> Head | str | None:
    """The head record, None where there is none, or what is wrong with it."""
    try:
        return read_head(root)
    except StoreError as error:
        return str(error)


def _later_shard(root: Path, newest: Manifest, shards: list[str], head: Head | str | None) -> str:
    """The shard with the highest number that proves that a later state was published; empty when there is none.

    A writer that is killed leaves shards for the next manifest only; it publishes that one before it writes more.
    Before it writes shards with names of today's form, it has written a head record.
    """
    highest = newest.number + 1
    proof = [name for name in shards if number_of(name) > highest]
    if head is None:
        proof += [name for name in shards if number_of(name) == highest and names_content(name)]
    named = {entry.file for entry in newest.shards} if proof else set()
    proof.sort(key=number_of, reverse=True)
    return next((name for name in proof if name not in named and _is_whole(root / "shards" / name)), "")


def _is_whole(shard: Path) -> bool:
    with suppress(StoreError, OSError), open_image(read_regular(shard, MAX_SHARD_BYTES), str(shard)):
        return True
    return False


def _shard_files(root: Path) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(root / "shards") if name.endswith(".h5")]  # noqa: PTH208 - Paths of many shards are slow
    return []


def _lost(root: Path, newest: Manifest, skipped: Mapping[int, str], head: Head | str | None) -> str:
    if isinstance(head, str):
        return f"{head}; so it is not known whether manifest {newest.number} is the last one that was published"
    if head is None:  # a store of an earlier version, where a damaged manifest may be the last one
        return next(iter(skipped.values()), "")
    if head.number in skipped:
        return skipped[head.number]
    if head.number > newest.number:
        return (
            f"{root / 'manifest' / name_of(head.number)}, the last state that was published, is missing; the newest "
            f"one left is manifest {newest.number} of {newest.created}"
        )
    if head.number == newest.number and head.manifest != newest.checksum:
        return f"{root / 'manifest' / name_of(head.number)} is not the one that was published: {FILE} has its checksum"
    return ""


def _outdated(root: Path, newest: Manifest, later: str) -> str:
    if not later:
        return ""
    return (
        f"{root / 'shards' / later} was written for manifest {number_of(later)}, but the newest one left is manifest "
        f"{newest.number} of {newest.created}, so what was published last is missing"
    )


def _empty(root: Path, head: Head | str | None) -> Manifest:
    """Manifest 0; StoreError unless `root` is a store to which nothing was ever published."""
    directories = [root / "manifest", root / "shards"]
    if not all(directory.is_dir() for directory in directories):
        raise RequestError(f"{root} is not a feature store: it has no manifest/ and shards/; check the path")
    if head is not None or _holds_shards(root):
        raise StoreError(f"{root} holds {_shards(root)} but no manifest; {_cure(root)}")
    return Manifest()


def _holds_shards(root: Path) -> bool:
    return bool(_shard_files(root))


def _cure(root: Path) -> str:
    return (
        f"restore {root / 'manifest'} from a backup: with it the {_shards(root)} can be read again, and featstore "
        "verify says which are intact; without a backup build into a new store"
    )


def _shards(root: Path) -> str:
    return counted(len(_shard_files(root)), "shard")
