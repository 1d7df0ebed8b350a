"""The plan of a shared build: checksummed files in the store that define every unit.

    STORE/pending/<id>/plan.json     embeddings, audio policy, and the position of each unit in units.jsonl
    STORE/pending/<id>/units.jsonl   one line per unit: its clips and the states of their files

A worker reads only the lines of its units. The id is a hash of the content, so equal plans have the same folder.
FORMAT.md describes the fields.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from featstore.audio.policy import AudioPolicy
from featstore.building.plan import FileState
from featstore.building.units import UnitWork
from featstore.clip import DOMAINS, LABELS, SPLITS, Clip, recording_of
from featstore.disk.files import read_part, read_regular
from featstore.disk.manifest import MAX_MANIFEST_BYTES, SHA256, parse_info
from featstore.disk.sealed import canonical, count, matching, typed, unseal
from featstore.disk.shard import EmbeddingInfo
from featstore.errors import AsdError, RequestError, StoreError

FORMAT = "featstore-plan"
VERSION = 1
PENDING = "pending"
PLAN, UNITS = "plan.json", "units.jsonl"
MAX_UNIT_BYTES = 1 << 26

PLAN_ID = re.compile(r"[0-9a-f]{16}")
_FIELDS = {"format", "version", "created", "root", "listed", "audio", "asked", "embeddings", "units", "checksum"}
_OUTSIDE_ID = {"created", "checksum"}
TEXTS = ("path", "machine", "section", "split", "domain", "label", "variant")


class PlanGone(StoreError):
    """Raised in a worker whose plan was completed or removed by another command."""


@dataclass(frozen=True)
class UnitLine:
    """Position of a unit in units.jsonl, with its number of clips and wanted embeddings."""

    clips: int
    wanted: tuple[int, ...]
    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PlanFile:
    """A plan in `folder`.

    created: time of the first writing, stored in all its shards. root: folder of the recordings on the planning
    machine. listed: number of clips in it. asked: options of the planning command, by name.
    """

    folder: Path
    created: str
    root: str
    listed: int
    audio: AudioPolicy
    asked: Mapping[str, Any]
    infos: tuple[EmbeddingInfo, ...]
    lines: tuple[UnitLine, ...]

    @property
    def id(self) -> str:
        """Identity of the plan: the name of its folder."""
        return self.folder.name

    @property
    def store(self) -> Path:
        """The store of the plan."""
        return self.folder.parent.parent

    def __len__(self) -> int:
        """Number of units."""
        return len(self.lines)

    @cached_property
    def clips(self) -> int:
        """Number of clips over all units."""
        return sum(line.clips for line in self.lines)

    def unit(self, number: int) -> UnitWork:
        """Read and check one unit; PlanGone when the plan was removed, StoreError when it is damaged."""
        line, path = self.lines[number], self.folder / UNITS
        try:
            data = read_part(path, line.offset, line.bytes)
        except FileNotFoundError as error:
            raise self.gone() from error
        if hashlib.sha256(data).hexdigest() != line.sha256:
            raise StoreError(f"{path}: unit {number} is damaged; remove this folder and plan again with featstore plan")
        try:
            rows = [_parse_row(row) for row in json.loads(data)]
            if len(rows) != line.clips:
                raise ValueError(f"{len(rows)} clips, expected {line.clips}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path}: unit {number} is not valid: {error}") from error
        return UnitWork(number, tuple(clip for clip, _ in rows), tuple(state for _, state in rows), line.wanted)

    def gone(self) -> PlanGone:
        """The error of a worker whose plan was removed."""
        return PlanGone(
            f"{self.store}: plan {self.id} was completed or replaced by another featstore build, plan or commit; its "
            "finished units are published, and this worker has nothing to do"
        )


def pending_of(store: Path) -> Path:
    """The folder of plans, which may be missing; StoreError when it is a symbolic link."""
    pending = store / PENDING
    if pending.is_symlink():
        raise StoreError(f"{pending} is a symbolic link; a store must hold its own files")
    return pending


def plans_of(store: Path) -> list[PlanFile]:
    """Every plan in the store, sorted by id; StoreError when one is damaged."""
    pending = pending_of(store)
    if not pending.is_dir():
        return []
    folders = [path for path in sorted(pending.iterdir()) if PLAN_ID.fullmatch(path.name) and not path.is_symlink()]
    plans = []
    for folder in folders:
        with suppress(FileNotFoundError):  # removed in this moment
            plans.append(read_plan(folder))
    return plans


def plan_for(store: Path, names: Sequence[str]) -> PlanFile:
    """The plan whose embeddings are exactly `names`; RequestError when there is none."""
    plans = plans_of(store)
    for plan in plans:
        if [info.name for info in plan.infos] == list(names):
            return plan
    known = "; ".join(", ".join(info.name for info in plan.infos) for plan in plans) or "none"
    raise RequestError(
        f"{store} has no plan for {', '.join(names)} (plans in the store: {known}); create it with featstore plan, "
        "unless everything is already committed"
    )


def read_plan(folder: Path) -> PlanFile:
    """The plan in `folder`; FileNotFoundError when it was removed, StoreError when it is damaged or invalid."""
    path = folder / PLAN
    data = read_regular(path, MAX_MANIFEST_BYTES)
    try:
        raw = unseal(data)
        if (raw.get("format"), raw.get("version")) != (FORMAT, VERSION):
            raise ValueError(
                f"it is {raw.get('format')!r} version {raw.get('version')!r}, expected {FORMAT!r} version {VERSION}"
            )
        plan = _parse(folder, raw)
        if folder.name != id_of(raw):
            raise ValueError("its content does not match the name of its folder")
        return plan
    except (ValueError, KeyError, TypeError, AttributeError, AsdError) as error:
        raise StoreError(f"{path} is not a valid plan: {error}; remove its folder and plan again") from error


def id_of(raw: Mapping[str, Any]) -> str:
    """The id of a plan, from the content of its plan.json."""
    return hashlib.sha256(canonical({k: v for k, v in raw.items() if k not in _OUTSIDE_ID})).hexdigest()[:16]


def _parse(folder: Path, raw: dict[str, Any]) -> PlanFile:
    if set(raw) != _FIELDS:
        raise ValueError(f"its fields are {sorted(raw)}, expected {sorted(_FIELDS)}")
    embeddings = [dict(fields) for fields in raw["embeddings"]]
    infos = tuple(parse_info(fields.pop("name"), fields) for fields in embeddings)
    lines = tuple(_parse_line(line, len(infos)) for line in typed(raw, "units", list))
    return PlanFile(
        folder=folder,
        created=typed(raw, "created", str),
        root=typed(raw, "root", str),
        listed=count(raw, "listed"),
        audio=AudioPolicy(**raw["audio"]),
        asked=typed(raw, "asked", dict),
        infos=infos,
        lines=lines,
    )


def _parse_line(raw: dict[str, Any], embeddings: int) -> UnitLine:
    clips, offset, size = (count(raw, name) for name in ("clips", "offset", "bytes"))
    wanted = tuple(typed(raw, "wanted", list))
    if size > MAX_UNIT_BYTES or not wanted or any(type(i) is not int or not 0 <= i < embeddings for i in wanted):
        raise ValueError(
            f"a unit has {size} bytes and the embeddings {wanted!r:.80}; expected at most {MAX_UNIT_BYTES} bytes and "
            f"positions below {embeddings}"
        )
    return UnitLine(clips, wanted, offset, size, matching(raw, "sha256", SHA256))


def _parse_row(raw: dict[str, Any]) -> tuple[Clip, FileState]:
    texts = {name: typed(raw, name, str) for name in TEXTS}
    parts = recording_of(texts["path"]).split("/")
    if texts["path"].startswith("/") or ".." in parts:
        raise ValueError(f"path {texts['path']!r:.80} leads outside the folder of recordings")
    for name, choices in (("split", SPLITS), ("domain", DOMAINS), ("label", LABELS)):
        if texts[name] not in choices:
            raise ValueError(f"{name} {texts[name]!r:.80} is not one of {', '.join(choices)}")
    attributes = typed(raw, "attributes", dict)
    size, mtime = raw["state"]
    if any(type(value) is not str for value in attributes.values()) or not type(size) is type(mtime) is int:
        raise ValueError(f"attributes of {texts['path']!r:.80} must be texts, its state two integers")
    return Clip(**texts, attributes=attributes), FileState(size, mtime)
