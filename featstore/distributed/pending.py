"""Finished units in the folder of their plan: shards that any worker writes, without the store's lock.

    <unit>-<sha256>.h5   a complete, immutable shard
    <unit>.json          checksummed record of the unit's shards, written last: the unit is finished
    <unit>.published     the same record after a manifest names the shards

Two workers may compute the same unit: equal shards have equal names, and the record names the valid ones.
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
from featstore.reader import differing_fields
from featstore.store import FinishedShard

FORMAT = "featstore-unit"
VERSION = 1
MAX_RECORD_BYTES = 1 << 16
_RECORD_NAME = re.compile(r"([0-9]{8})\.(json|published)")
_FIELDS = {"format", "version", "plan", "unit", "shards", "checksum"}


def finished(plan: PlanFile) -> dict[int, bool]:
    """The finished units, each with whether it is published; PlanGone when the plan was removed."""
    units: dict[int, bool] = {}
    try:
        names = [path.name for path in plan.folder.iterdir()]
    except FileNotFoundError as error:
        raise plan.gone() from error
    for match in filter(None, map(_RECORD_NAME.fullmatch, names)):
        units[int(match[1])] = units.get(int(match[1]), False) or match[2] == "published"
    return units


def is_finished(plan: PlanFile, number: int) -> bool:
    """Whether one unit is finished, published or not."""
    return any((plan.folder / f"{number:08d}.{suffix}").exists() for suffix in ("json", "published"))


def add(plan: PlanFile, unit: UnitWork, shards: Sequence[ShardData]) -> None:
    """Add a computed unit to its plan, whole or not at all; `shards` has one shard per wanted embedding.

    Raises ResourceError when the disk is full, PlanGone when the plan was removed.
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
    """The shards of a finished unit, fully checked; StoreError when one is missing, damaged or not of this unit."""
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
    """Mark a unit as published and remove its shards from the plan's folder; the store has its own links to them."""
    (plan.folder / f"{number:08d}.json").replace(plan.folder / f"{number:08d}.published")
    for shard in shards:
        with suppress(OSError):
            shard.path.unlink()


def discard(plan: PlanFile, number: int) -> None:
    """Remove an invalid record, so that a worker computes the unit again."""
    with suppress(FileNotFoundError):
        (plan.folder / f"{number:08d}.json").unlink()


def _image_name(number: int, digest: str) -> str:
    return f"{number:08d}-{digest}.h5"


def _parse(raw: dict[str, Any], plan: PlanFile, unit: UnitWork) -> list[tuple[int, str]]:
    header = (raw.get("format"), raw.get("version"), raw.get("plan"), raw.get("unit"))
    expected = (FORMAT, VERSION, plan.id, unit.number)
    if header != expected or set(raw) != _FIELDS:
        raise ValueError(f"its header is {header}, expected {expected}")
    entries = [(count(entry, "bytes"), matching(entry, "sha256", SHA256)) for entry in typed(raw, "shards", list)]
    if len(entries) != len(unit.wanted) or any(size > MAX_SHARD_BYTES for size, _ in entries):
        raise ValueError(
            f"it has {len(entries)} shards, expected {len(unit.wanted)} of at most {MAX_SHARD_BYTES} bytes"
        )
    return entries


def _checked(plan: PlanFile, unit: UnitWork, position: int, size: int, digest: str) -> FinishedShard:
    path, info = plan.folder / _image_name(unit.number, digest), plan.infos[position]
    try:
        image = read_regular(path, min(size, MAX_SHARD_BYTES))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing") from error
    if len(image) != size or hashlib.sha256(image).hexdigest() != digest:
        raise StoreError(f"{path} is damaged: its {len(image)} bytes do not match the checksum in its record")
    with open_image(image, str(path)) as shard:
        keys = _checked_keys(shard, info, unit, path)
        rows = shard.n_rows
    place = f"{plan.id}-{unit.number:08d}-{position:02d}"
    return FinishedShard(path, info, tuple(keys), rows, size, digest, place)


def _checked_keys(shard: Shard, info: EmbeddingInfo, unit: UnitWork, path: Path) -> list[str]:
    """Keys of the rows, then of the rejections; StoreError unless unit and embedding are those of the plan."""
    differing = differing_fields(shard.info, info)
    if shard.info.name != info.name or differing:
        field, (actual, planned) = next(iter(differing.items()), ("name", (shard.info.name, info.name)))
        raise StoreError(f"{path} has {field} {actual!r}, the plan has {planned!r}")
    rejected = [rejection.key for rejection in shard.rejected()]
    without_row = set(rejected)
    rows = [clip for clip in unit.clips if clip.key not in without_row]
    if list(shard.clips()) != rows or rejected != [clip.key for clip in unit.clips if clip.key in without_row]:
        raise StoreError(f"{path} does not contain the clips of unit {unit.number}")
    if not finite_rows(shard.matrix()).all():
        raise StoreError(f"{path} contains rows that are not finite")
    return shard.clips().keys() + rejected
