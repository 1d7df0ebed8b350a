"""Finished units beside their plan: shard images written by any worker, without the store's lock, until a commit.

    <unit>-<sha256>.h5   a whole, immutable shard
    <unit>.json          checked record, written last: the unit is finished, and these are its shards
    <unit>.published     the same record once a manifest names the shards

A unit made twice, by two workers, is harmless: its images have equal names if they are equal, and the record names
those that count.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from featstore.building.units import UnitWork
from featstore.disk.files import read_regular, write_checked
from featstore.disk.manifest import SHA256
from featstore.disk.sealed import canonical, count, matching, seal, typed, unseal
from featstore.disk.shard import MAX_SHARD_BYTES, EmbeddingInfo, Shard, ShardData, build_image, finite_rows, open_image
from featstore.distributed.planfile import PlanFile
from featstore.errors import ResourceError, StoreError
from featstore.reader import mixed
from featstore.store import FinishedShard

FORMAT = "featstore-unit"
VERSION = 1
MAX_RECORD_BYTES = 1 << 16
_RECORD_NAME = re.compile(r"([0-9]{8})\.(json|published)")
_FIELDS = {"format", "version", "plan", "unit", "shards", "checksum"}


def finished(plan: PlanFile) -> dict[int, bool]:
    """Units that need no worker any more, and whether each is published; PlanGone when the plan has left the store."""
    found: dict[int, bool] = {}
    try:
        names = [path.name for path in plan.folder.iterdir()]
    except FileNotFoundError as error:
        raise plan.gone() from error
    for match in filter(None, map(_RECORD_NAME.fullmatch, names)):
        found[int(match[1])] = found.get(int(match[1]), False) or match[2] == "published"
    return found


def is_finished(plan: PlanFile, number: int) -> bool:
    """Whether one unit needs no worker any more."""
    return any((plan.folder / f"{number:08d}.{suffix}").exists() for suffix in ("json", "published"))


def add(plan: PlanFile, unit: UnitWork, shards: Sequence[ShardData]) -> None:
    """Put a computed unit beside its plan, whole or not at all; `shards` holds one per embedding that it wants.

    ResourceError when the disk is full, PlanGone when the plan has left the store meanwhile.
    """
    entries = []
    try:
        for data in shards:
            image = build_image(data, created=plan.created)
            digest = hashlib.sha256(image).hexdigest()
            path = plan.folder / _image_name(unit.number, digest)
            write_checked(path, image)
            entries.append({"bytes": len(image), "sha256": digest})
        record = {"format": FORMAT, "version": VERSION, "plan": plan.id, "unit": unit.number, "shards": entries}
        write_checked(plan.folder / f"{unit.number:08d}.json", canonical(seal(record)))
    except (StoreError, ResourceError) as error:
        if not plan.folder.exists():
            raise plan.gone() from error
        raise


def collect(plan: PlanFile, number: int) -> list[FinishedShard]:
    """The shards of a finished unit, each checked as any shard from elsewhere; StoreError says what is wrong."""
    unit, record = plan.unit(number), plan.folder / f"{number:08d}.json"
    try:
        raw = unseal(read_regular(record, MAX_RECORD_BYTES))
        entries = _parse(raw, plan, unit)
    except FileNotFoundError as error:
        raise StoreError(f"{record} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{record} is not a valid record: {error}") from error
    return [
        _checked(plan, unit, position, size, digest)
        for position, (size, digest) in zip(unit.wanted, entries, strict=True)
    ]


def mark_published(plan: PlanFile, number: int, shards: Sequence[FinishedShard]) -> None:
    """Note that a manifest names the shards of a unit, and let go of its own names for them."""
    (plan.folder / f"{number:08d}.json").replace(plan.folder / f"{number:08d}.published")
    for shard in shards:
        with suppress(OSError):
            shard.path.unlink()


def discard(plan: PlanFile, number: int) -> None:
    """Remove a record that proved wrong, so that some worker makes the unit again."""
    with suppress(FileNotFoundError):
        (plan.folder / f"{number:08d}.json").unlink()


def _image_name(number: int, digest: str) -> str:
    return f"{number:08d}-{digest}.h5"


def _parse(raw: dict[str, Any], plan: PlanFile, unit: UnitWork) -> list[tuple[int, str]]:
    said = (raw.get("format"), raw.get("version"), raw.get("plan"), raw.get("unit"))
    if said != (FORMAT, VERSION, plan.id, unit.number) or set(raw) != _FIELDS:
        raise ValueError(f"it is {said}, expected {(FORMAT, VERSION, plan.id, unit.number)}")
    entries = [(count(one, "bytes"), matching(one, "sha256", SHA256)) for one in typed(raw, "shards", list)]
    if len(entries) != len(unit.wanted) or any(size > MAX_SHARD_BYTES for size, _ in entries):
        raise ValueError(f"it names {len(entries)} shards for {len(unit.wanted)} embeddings")
    return entries


def _checked(plan: PlanFile, unit: UnitWork, position: int, size: int, digest: str) -> FinishedShard:
    path, info = plan.folder / _image_name(unit.number, digest), plan.infos[position]
    try:
        image = read_regular(path, min(size, MAX_SHARD_BYTES))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing") from error
    if len(image) != size or hashlib.sha256(image).hexdigest() != digest:
        raise StoreError(f"{path} is damaged: its {len(image)} bytes do not have the checksum of its record")
    with open_image(image, str(path)) as shard:
        keys = _checked_keys(shard, info, unit, path)
        rows = shard.n_rows
    place = f"{plan.id}-{unit.number:08d}-{position:02d}"
    return FinishedShard(path, info, tuple(keys), rows, size, digest, place)


def _checked_keys(shard: Shard, info: EmbeddingInfo, unit: UnitWork, path: Path) -> list[str]:
    """Keys of the rows, then of the rejections; StoreError unless they are the unit's and the embedding the plan's."""
    differing = mixed(shard.info, info)
    if shard.info.name != info.name or differing:
        field, pair = next(iter(differing.items()), ("name", (shard.info.name, info.name)))
        raise StoreError(f"{path} was made with {field} {pair[0]!r}, the plan has {pair[1]!r}")
    rejected = [one.key for one in shard.rejected()]
    left = set(rejected)
    if list(shard.clips()) != [clip for clip in unit.clips if clip.key not in left] or rejected != [
        clip.key for clip in unit.clips if clip.key in left
    ]:
        raise StoreError(f"{path} does not hold the clips of unit {unit.number}")
    if not finite_rows(shard.matrix()).all():
        raise StoreError(f"{path} holds rows that are not finite")
    return shard.clips().keys() + rejected
