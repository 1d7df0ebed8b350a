"""Check a whole store and list its damaged files; damage is reported, not raised."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore.building.state import FILE as BUILD_STATE
from featstore.clip import DOMAINS, LABELS, SPLITS
from featstore.disk.files import TEMPORARY_SUFFIX, read_regular
from featstore.disk.head import FILE as HEAD
from featstore.disk.manifest import Manifest, ShardEntry, live_mask, load, name_of, numbered
from featstore.disk.newest import find_newest
from featstore.disk.shard import MAX_SHARD_BYTES, NewerShard, Shard, finite_rows, open_image
from featstore.distributed.planfile import PENDING
from featstore.errors import RequestError, StoreError
from featstore.reader import Compacted, FeatureStore
from featstore.table import decode
from featstore.terminal.shown import counted

DAMAGED = "damaged"
"""Folder in the store for damaged shards that `repair` removed."""

SELECTION = "selection"
"""Folder in the store for choices of an ensemble, which `detect` keeps there and checks itself."""

MARKS = ("marks.jsonl", "marks.torn")
"""Files in the store for what people heard, which `detect` writes and checks itself."""

TRIES = 10
"""How often the check begins again when a compaction removes what is being checked."""

_CHOICES = {"split": SPLITS, "domain": DOMAINS, "label": LABELS}


@dataclass(frozen=True)
class Problem:
    """A damaged or unexpected file, relative to the store, and what is wrong with it.

    newer: whether it is a shard of a newer program, which is not damaged.
    """

    file: str
    what: str
    newer: bool = False


def verify(path: str | Path) -> list[Problem]:
    """Problems of the store at `path`; empty when the store follows FORMAT.md.

    Checks every manifest, that the last published one is there, and every shard that a manifest names: checksum,
    structure, counts, finite rows, valid clips, and unique live keys. Reads the whole store; memory use grows with the
    number of keys only. Begins again when a compaction removes what is being checked, StoreError when it does so all
    the time. RequestError for a folder that is no store.
    """
    root = Path(path)
    for _ in range(TRIES):
        with suppress(_Changed):
            return _verify(root)
    raise StoreError(f"{root} is being compacted faster than it can be checked; run featstore verify again")


class _Changed(Exception):
    """Raised when a manifest that is being checked was removed, with the shards that only it names."""


def _verify(root: Path) -> list[Problem]:
    try:
        manifests, problems = _manifests(root)
    except RequestError:  # no store at all
        raise
    except StoreError as error:
        return [Problem(".", str(error))]
    try:
        newest = find_newest(root)
        current: Manifest | None = newest.manifest
        if newest.lost and newest.lost not in newest.skipped.values():
            problems.append(Problem(HEAD, newest.lost))
    except RequestError:
        raise
    except StoreError as error:
        current = None
        problems += [Problem(".", str(error)), *_unreadable(root)]
    problems += _own_lock(root)
    seen: dict[str, str] = {}
    for manifest in manifests:
        is_current = current is not None and manifest.number == current.number
        live: dict[tuple[str, str], str] = {}
        for entry in manifest.shards:
            if not is_current and entry.file in seen:
                continue
            keys = live if is_current else {}
            try:
                problems += [Problem(f"shards/{entry.file}", what) for what in _check(root, manifest, entry, keys)]
            except NewerShard as error:
                problems.append(Problem(f"shards/{entry.file}", str(error), newer=True))
            seen[entry.file] = entry.sha256
    return problems


def _own_lock(root: Path) -> Iterator[Problem]:
    """The lock, where no writer could take it."""
    lock = root / "lock"
    if lock.is_symlink() or (lock.exists() and not lock.is_file()):
        what = "a symbolic link" if lock.is_symlink() else "a folder" if lock.is_dir() else "not a regular file"
        yield Problem("lock", f"{lock} is {what}, so nothing can be written to the store; remove it")


def _unreadable(root: Path) -> Iterator[Problem]:
    """The shards that are damaged in themselves, for a store without a manifest that would name their checksums."""
    for path in sorted((root / "shards").glob("*.h5")):
        try:
            with open_image(read_regular(path, MAX_SHARD_BYTES), str(path)) as shard:
                problems = list(_check_rows(shard))
        except StoreError as error:
            problems = [str(error)]
        yield from (Problem(f"shards/{path.name}", problem) for problem in problems)


def notes(path: str | Path) -> list[Problem]:
    """Files that no manifest names: left by a killed writer, harmless, and removed by the next writer."""
    root = Path(path)
    manifests, _ = _manifests(root)
    named = {f"shards/{entry.file}" for manifest in manifests for entry in manifest.shards}
    named |= {f"manifest/{file.name}" for file in numbered(root).values()}
    named |= {"lock", HEAD, "shards", "manifest", BUILD_STATE, DAMAGED, *MARKS}
    files = sorted(str(file.relative_to(root).as_posix()) for file in root.rglob("*"))
    others = (f"{PENDING}/", f"{SELECTION}/")  # checked by the next commit, and by the next `detect --ensemble`
    return [Problem(file, _kind(file)) for file in files if file not in named and not f"{file}/".startswith(others)]


def _kind(file: str) -> str:
    return "temporary file of an unfinished write" if file.endswith(TEMPORARY_SUFFIX) else "not named by any manifest"


def _manifests(root: Path) -> tuple[list[Manifest], list[Problem]]:
    valid, problems = [], []
    for file in numbered(root).values():
        try:
            valid.append(load(file))
        except FileNotFoundError:
            continue  # a writer has just removed it
        except StoreError as error:
            problems.append(Problem(f"manifest/{file.name}", str(error)))
    return valid, problems


def _check(root: Path, manifest: Manifest, entry: ShardEntry, live: dict[tuple[str, str], str]) -> Iterator[str]:
    """Problems of one shard; adds its live keys to `live`, each with the file that holds it."""
    try:
        with FeatureStore(root, manifest).open_shard(entry) as shard:
            yield from _check_rows(shard)
            keys = shard.clips().keys()
            rejected = [rejection.key for rejection in shard.rejected()]
    except NewerShard:
        raise
    except Compacted as error:
        if not (root / "manifest" / name_of(manifest.number)).exists():
            raise _Changed from error
        yield str(error)
        return
    except StoreError as error:
        yield str(error)
        return
    own = [key for key, is_live in zip(keys, live_mask(entry.rows, entry.dropped), strict=True) if is_live]
    own += [key for key, is_live in zip(rejected, live_mask(entry.rejected, entry.cleared), strict=True) if is_live]
    for key in own:
        other = live.setdefault((entry.embedding, key), entry.file)
        if other != entry.file:
            yield f"key {key!r} is also live in {other}"
    if len(set(own)) < len(own):
        yield "a key is live twice in this file"


def _check_rows(shard: Shard) -> Iterator[str]:
    clips = shard.clips()
    finite = finite_rows(shard.matrix())
    if not finite.all():
        rows = counted(int((~finite).sum()), "row is", "rows are")
        yield f"{rows} not finite, the first is row {int(np.argmin(finite))}"
    for name, choices in _CHOICES.items():
        unknown = set(decode(np.unique(clips.columns[name]))) - set(choices)
        if unknown:
            yield f"{name} {min(unknown)!r} is not one of {', '.join(choices)}"
    for text in np.unique(clips.columns["attributes"]).tolist():
        try:
            readable = isinstance(json.loads(text.decode("utf-8", "surrogateescape")), dict)
        except (ValueError, RecursionError):
            readable = False
        if not readable:
            yield f"attributes {text[:80]!r} are not a JSON object"
            return
