"""The plan of a build that many workers share: a checked file in the store that says what every unit is.

    STORE/pending/<id>/plan.json     embeddings, audio policy, and where in units.jsonl each unit lies
    STORE/pending/<id>/units.jsonl   one line per unit: its clips and the states of their files

A worker reads the few lines it needs, so a plan of any size costs it nothing. The id follows from the content: the
same plan made twice is the same folder. FORMAT.md describes the fields.
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

from featstore.audio import AudioPolicy
from featstore.building.plan import FileState
from featstore.building.units import UnitWork
from featstore.clip import DOMAINS, LABELS, SPLITS, Clip
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
    """Raised when a plan was finished, or taken over by another command, while a worker still had it."""


@dataclass(frozen=True)
class UnitLine:
    """Where a unit lies in units.jsonl."""

    clips: int
    wanted: tuple[int, ...]
    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PlanFile:
    """A plan as it lies in `folder`.

    created: when it was first written, which all its shards carry. root: the recordings as the planning machine saw
    them. listed: how many there were. asked: options of the command that made it, by name.
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
        """What tells this plan from others: the name of its folder."""
        return self.folder.name

    @property
    def store(self) -> Path:
        """The store that the plan is of."""
        return self.folder.parent.parent

    def __len__(self) -> int:
        """Number of units."""
        return len(self.lines)

    @cached_property
    def clips(self) -> int:
        """Number of clips over all units."""
        return sum(line.clips for line in self.lines)

    def unit(self, number: int) -> UnitWork:
        """One unit, read and checked; PlanGone when the plan has left the store, StoreError when it is damaged."""
        line, path = self.lines[number], self.folder / UNITS
        try:
            data = read_part(path, line.offset, line.bytes)
        except FileNotFoundError as error:
            raise self.gone() from error
        if hashlib.sha256(data).hexdigest() != line.sha256:
            raise StoreError(f"{path}: unit {number} is damaged; make the plan again with featstore plan")
        try:
            rows = [_parse_row(row) for row in json.loads(data)]
            if len(rows) != line.clips:
                raise ValueError(f"{len(rows)} clips, expected {line.clips}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path}: unit {number} is not valid: {error}") from error
        return UnitWork(number, tuple(clip for clip, _ in rows), tuple(state for _, state in rows), line.wanted)

    def gone(self) -> PlanGone:
        """The error of a worker whose plan has left the store."""
        return PlanGone(
            f"{self.store}: plan {self.id} was finished or taken over by another featstore build, plan or commit; "
            "finished units were published, there is nothing to do for this worker"
        )


def pending_of(store: Path) -> Path:
    """The folder of plans, which may be missing; StoreError when it is a link to elsewhere."""
    pending = store / PENDING
    if pending.is_symlink():
        raise StoreError(f"{pending} is a symbolic link; a store holds its own files")
    return pending


def plans_of(store: Path) -> list[PlanFile]:
    """Every plan in the store, sorted by id; StoreError when one is damaged."""
    pending = pending_of(store)
    if not pending.is_dir():
        return []
    folders = [path for path in sorted(pending.iterdir()) if PLAN_ID.fullmatch(path.name) and not path.is_symlink()]
    plans = []
    for folder in folders:
        with suppress(FileNotFoundError):  # retired just now
            plans.append(read_plan(folder))
    return plans


def plan_for(store: Path, names: Sequence[str]) -> PlanFile:
    """The plan whose embeddings are `names`; RequestError when there is none."""
    plans = plans_of(store)
    for plan in plans:
        if [info.name for info in plan.infos] == list(names):
            return plan
    known = "; ".join(", ".join(info.name for info in plan.infos) for plan in plans) or "none"
    raise RequestError(
        f"{store} has no plan for {', '.join(names)} (plans there: {known}); make it with featstore plan, "
        "or everything is committed already"
    )


def read_plan(folder: Path) -> PlanFile:
    """The plan in `folder`; FileNotFoundError when it has left, StoreError when it is damaged or hostile."""
    path = folder / PLAN
    data = read_regular(path, MAX_MANIFEST_BYTES)
    try:
        raw = unseal(data)
        if (raw.get("format"), raw.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"it is {raw.get('format')!r} version {raw.get('version')!r}, expected {FORMAT!r} 1")
        plan = _parse(folder, raw)
        if folder.name != id_of(raw):
            raise ValueError("it was changed after it was made")
        return plan
    except (ValueError, KeyError, TypeError, AttributeError, AsdError) as error:
        raise StoreError(f"{path} is not a valid plan: {error}; remove its folder and plan again") from error


def id_of(raw: Mapping[str, Any]) -> str:
    """The name of the plan that `raw` is the header of."""
    return hashlib.sha256(canonical({k: v for k, v in raw.items() if k not in _OUTSIDE_ID})).hexdigest()[:16]


def _parse(folder: Path, raw: dict[str, Any]) -> PlanFile:
    if set(raw) != _FIELDS:
        raise ValueError(f"its fields are {sorted(raw)}")
    infos = tuple(parse_info(one["name"], {k: v for k, v in one.items() if k != "name"}) for one in raw["embeddings"])
    lines = tuple(_parse_line(one, len(infos)) for one in typed(raw, "units", list))
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
        raise ValueError(f"a unit of {size} bytes for the embeddings {wanted!r:.80}")
    return UnitLine(clips, wanted, offset, size, matching(raw, "sha256", SHA256))


def _parse_row(raw: dict[str, Any]) -> tuple[Clip, FileState]:
    texts = {name: typed(raw, name, str) for name in TEXTS}
    parts = texts["path"].split("/")
    if texts["path"].startswith("/") or ".." in parts:
        raise ValueError(f"path {texts['path']!r:.80} leads out of the folder of recordings")
    for name, choices in (("split", SPLITS), ("domain", DOMAINS), ("label", LABELS)):
        if texts[name] not in choices:
            raise ValueError(f"{name} {texts[name]!r:.80} is not one of {', '.join(choices)}")
    attributes = typed(raw, "attributes", dict)
    size, mtime = raw["state"]
    if any(type(value) is not str for value in attributes.values()) or not type(size) is type(mtime) is int:
        raise ValueError(f"attributes or state of {texts['path']!r:.80}")
    return Clip(**texts, attributes=attributes), FileState(size, mtime)
