"""Check a whole store and name what is damaged, without ever failing on the damage itself."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore.clip import DOMAINS, LABELS, SPLITS
from featstore.disk.files import TEMPORARY_SUFFIX
from featstore.disk.manifest import Manifest, ShardEntry, live_mask, load, numbered
from featstore.disk.shard import Shard, finite_rows
from featstore.distributed.planfile import PENDING
from featstore.errors import StoreError
from featstore.reader import FeatureStore
from featstore.table import decode
from featstore.upkeep.compact import Compaction, compact

__all__ = ["Compaction", "Problem", "compact", "notes", "verify"]

_CHOICES = {"split": SPLITS, "domain": DOMAINS, "label": LABELS}


@dataclass(frozen=True)
class Problem:
    """One damaged or suspicious file, relative to the store, and what is wrong with it."""

    file: str
    what: str


def verify(path: str | Path) -> list[Problem]:
    """Problems of the store at `path`; empty when every promise of FORMAT.md holds.

    Checks every manifest and every shard one of them names: checksum, structure, counts, every row finite, every clip
    readable, and that every key is live once. Reads the whole store; memory grows with the number of keys only.
    """
    root = Path(path)
    try:
        manifests, problems = _manifests(root)
    except StoreError as error:
        return [Problem(".", str(error))]
    try:
        current = FeatureStore.open(root).manifest
    except StoreError as error:
        current = None
        problems.append(Problem(".", str(error)))
    seen: dict[str, str] = {}
    for manifest in manifests:
        is_current = current is not None and manifest.number == current.number
        live: dict[tuple[str, str], str] = {}
        for entry in manifest.shards:
            if not is_current and entry.file in seen:
                continue
            keys = live if is_current else {}
            problems += [Problem(f"shards/{entry.file}", what) for what in _check(root, manifest, entry, keys)]
            seen[entry.file] = entry.sha256
    return problems


def notes(path: str | Path) -> list[Problem]:
    """Files that belong to no manifest: left by a killed writer, removed by the next one, and harmless."""
    root = Path(path)
    manifests, _ = _manifests(root)
    named = {f"shards/{entry.file}" for manifest in manifests for entry in manifest.shards}
    named |= {f"manifest/{file.name}" for file in numbered(root).values()} | {
        "lock",
        "shards",
        "manifest",
        "build.json",
        "damaged",
    }
    found = sorted(str(file.relative_to(root).as_posix()) for file in root.rglob("*"))
    pending = PENDING + "/"  # what workers have finished is the next commit's to judge
    return [Problem(file, _kind(file)) for file in found if file not in named and not f"{file}/".startswith(pending)]


def _kind(file: str) -> str:
    return "temporary file of an unfinished write" if file.endswith(TEMPORARY_SUFFIX) else "named by no manifest"


def _manifests(root: Path) -> tuple[list[Manifest], list[Problem]]:
    valid, problems = [], []
    for file in numbered(root).values():
        try:
            valid.append(load(file))
        except FileNotFoundError:
            continue  # pruned by a writer just now
        except StoreError as error:
            problems.append(Problem(f"manifest/{file.name}", str(error)))
    return valid, problems


def _check(root: Path, manifest: Manifest, entry: ShardEntry, live: dict[tuple[str, str], str]) -> Iterator[str]:
    """What is wrong with one shard; `live` collects every key seen so far and the file that holds it."""
    try:
        with FeatureStore(root, manifest).open_shard(entry) as shard:
            yield from _check_rows(shard)
            keys = shard.clips().keys()
            rejected = [rejection.key for rejection in shard.rejected()]
    except StoreError as error:
        yield str(error)
        return
    alive = [key for key, counts in zip(keys, live_mask(entry.rows, entry.dropped), strict=True) if counts]
    alive += [key for key, counts in zip(rejected, live_mask(entry.rejected, entry.cleared), strict=True) if counts]
    for key in alive:
        other = live.setdefault((entry.embedding, key), entry.file)
        if other != entry.file:
            yield f"key {key!r} is live in {other} too"
    if len(set(alive)) < len(alive):
        yield "a key is live twice within the file"


def _check_rows(shard: Shard) -> Iterator[str]:
    clips = shard.clips()
    finite = finite_rows(shard.matrix())
    if not finite.all():
        yield f"{int((~finite).sum())} rows are not finite, the first is row {int(np.argmin(finite))}"
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
