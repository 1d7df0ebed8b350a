"""Write a plan into the store, whole or not at all, and remove it; the caller holds the store's lock."""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featstore.audio.policy import AudioPolicy
from featstore.building.plan import FileState
from featstore.building.units import UnitWork
from featstore.clip import Clip
from featstore.disk.files import TEMPORARY_SUFFIX, check_space, explained, replacing, sync_directory, write_new
from featstore.disk.manifest import MAX_MANIFEST_BYTES, without_name
from featstore.disk.sealed import canonical, seal
from featstore.disk.shard import EmbeddingInfo
from featstore.distributed.planfile import (
    FORMAT,
    MAX_UNIT_BYTES,
    PLAN,
    TEXTS,
    UNITS,
    VERSION,
    PlanFile,
    UnitLine,
    id_of,
    pending_of,
    read_plan,
)
from featstore.errors import StoreError


def write_plan(
    store: Path, units: Iterable[UnitWork], infos: Sequence[EmbeddingInfo], audio: AudioPolicy, **facts: Any
) -> PlanFile | None:
    """Write the plan of `units` into the store and return it; an existing equal plan stays unchanged.

    facts: `root`, `listed` and `asked` of PlanFile, and `others`: ids of conflicting plans. When one of these is not
    this plan, nothing is written and None is returned. Raises ResourceError when the disk is full.
    """
    pending = pending_of(store)
    with explained(str(pending), 0, store):
        pending.mkdir(exist_ok=True)
    temporary = pending / f"{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        lines = _write_units(temporary, units)
        raw: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "root": facts["root"],
            "listed": facts["listed"],
            "audio": asdict(audio),
            "asked": facts["asked"],
            "embeddings": [{"name": info.name, **without_name(info)} for info in infos],
            "units": [asdict(line) for line in lines],
        }
        folder = pending / id_of(raw)
        if set(facts["others"]) - {folder.name}:
            return None
        if not (folder / PLAN).exists():
            data = canonical(seal(raw | {"created": datetime.now(UTC).isoformat(timespec="seconds")}))
            if len(data) > MAX_MANIFEST_BYTES:
                raise StoreError(
                    f"the plan would have {len(data)} bytes, the limit is {MAX_MANIFEST_BYTES}; use larger units with "
                    "--unit-clips"
                )
            with explained(PLAN, len(data), pending):
                write_new(temporary / PLAN, data)
                temporary.rename(folder)
                sync_directory(pending)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read_plan(folder)


def _write_units(folder: Path, units: Iterable[UnitWork]) -> list[UnitLine]:
    lines, offset = [], 0
    with explained(UNITS, 0, folder.parent):
        folder.mkdir()
        with replacing(folder / UNITS) as part, part.open("xb") as file:
            for unit in units:
                data = json.dumps([_row(*pair) for pair in zip(unit.clips, unit.states, strict=True)]).encode("ascii")
                if len(data) > MAX_UNIT_BYTES:
                    raise StoreError(
                        f"unit {unit.number} has {len(data)} bytes, the limit is {MAX_UNIT_BYTES}; use smaller units "
                        "with --unit-clips"
                    )
                check_space(UNITS, len(data), folder)
                file.write(data + b"\n")
                lines.append(
                    UnitLine(len(unit.clips), unit.wanted, offset, len(data), hashlib.sha256(data).hexdigest())
                )
                offset += len(data) + 1
    return lines


def _row(clip: Clip, state: FileState) -> dict[str, Any]:
    texts = {name: getattr(clip, name) for name in TEXTS}
    return texts | {"attributes": dict(clip.attributes), "state": [state.size_bytes, state.mtime_ns]}


def remove_plan(folder: Path) -> None:
    """Remove a plan with all its files; workers see it disappear at once, even while they write to it."""
    with suppress(FileNotFoundError):
        folder.rename(folder.with_name(f"{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"))
    remove_leftovers(folder.parent.parent)


def remove_leftovers(store: Path) -> None:
    """Remove the temporary folders of plans that were removed or not completely written."""
    pending = pending_of(store)
    for path in pending.glob(f"*{TEMPORARY_SUFFIX}"):
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        pending.rmdir()
