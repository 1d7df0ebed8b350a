"""Recordings that a person confirmed as faults: the setting `faults` of networks that learn from them.

    clip,kind
    fan/test/0031.wav,unbalance
    0044.wav,bearing

The file of `detect marks STORE --csv` fits too: its column `label` says which clips are faults, others are passed over,
and its column `note` names the kind. A clip is named as in scores.csv, by a path that ends alike, or by a unique file
name; of a window, or of a marked part, only that part is used. Nothing but this file says which clips are faults.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedders.networks.objectives.names import NORMAL
from featstore.clip import Clip, recording_of, window_of, window_path
from featstore.errors import DataError
from featstore.layouts.csv_text import csv_rows
from featstore.layouts.labels import ANOMALY_WORDS, NORMAL_WORDS
from featstore.layouts.names import Names, several

CONFIRMED = "confirmed fault"
"""Attribute of a clip that a person confirmed; its value is the kind."""

FAULT = "fault"
"""The kind of faults without a name, and of kinds with fewer than LEAST recordings of a machine."""

LEAST = 3
LONGEST = 60
"""Characters of a kind."""

PASSED_OVER = (*NORMAL_WORDS, "false alarm", "ignore")
KINDS = ("kind", "note")
"""Columns that name the kind of a fault, the first that the file has."""

MAX_BYTES = 1 << 26


def is_confirmed(clip: Clip) -> bool:
    """Whether a person confirmed the clip as a fault."""
    return clip.label == "anomaly" and CONFIRMED in clip.attributes


def with_confirmed(clips: Sequence[Clip], path: Path) -> list[Clip]:
    """The clips, those that the file confirms with the attribute CONFIRMED; other attributes of these are left out.

    DataError names the line of a clip that is not among the recordings, or that has two kinds.
    """
    by_path = {clip.path: clip for clip in clips if not clip.variant}
    names = Names(by_path)
    kinds: dict[str, tuple[int, str]] = {}
    for row in _faults(path):
        where = f"{path}, line {row.line}"
        fitting = names.fitting(recording_of(row.clip))
        if len(fitting) != 1:
            problem = several(fitting, "recordings") if fitting else "is no recording of the data"
            raise DataError(f"{where}: {row.clip!r} {problem}; expected a path below the data, or a unique file name")
        part = window_path(fitting[0], *row.part) if row.part else fitting[0]
        line, kind = kinds.setdefault(part, (row.line, row.kind))
        if kind != row.kind:
            raise DataError(f"{where}: {part!r} is {row.kind!r}, but {kind!r} on line {line}; remove one")
    if not kinds:
        raise DataError(f"{path}: no confirmed faults; expected lines of `clip,kind` below that header")
    faults = [
        replace(by_path[recording_of(part)], path=part, label="anomaly", attributes={CONFIRMED: kind})
        for part, (_, kind) in kinds.items()
    ]
    known = {recording_of(part) for part in kinds}
    return [*(clip for clip in clips if clip.path not in known), *_joined(faults)]


def _joined(faults: Sequence[Clip]) -> list[Clip]:
    """The faults, rare kinds of a machine joined to FAULT."""
    counts = Counter((clip.machine, clip.attributes[CONFIRMED]) for clip in faults)
    rare = [counts[clip.machine, clip.attributes[CONFIRMED]] < LEAST for clip in faults]
    return [
        replace(clip, attributes={CONFIRMED: FAULT}) if few else clip for clip, few in zip(faults, rare, strict=True)
    ]


@dataclass(frozen=True)
class _Row:
    line: int
    clip: str
    kind: str
    part: tuple[float, float] | None


def _faults(path: Path) -> Iterator[_Row]:
    """The rows that say fault."""
    rows = csv_rows(path, max_bytes=MAX_BYTES)
    _, first = next(rows)
    header = [column.strip().lower() for column in first]
    if "clip" not in header or not {"label", *KINDS} & set(header):
        raise DataError(f"{path}: the first line is {','.join(first)!r:.80}; expected clip,kind or clip,label,note")
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: expected {len(header)} columns, got {len(cells)}")
        row = dict(zip(header, map(str.strip, cells), strict=True))
        label = " ".join(row.get("label", FAULT).lower().replace("_", " ").split())
        if label in PASSED_OVER:
            continue
        if label not in ANOMALY_WORDS:
            raise DataError(f"{path}, line {line}: the label {row['label']!r}; expected fault, or {PASSED_OVER[0]}")
        kind = _kind(row)
        if kind == NORMAL:
            raise DataError(f"{path}, line {line}: the kind is {NORMAL!r}; expected a confirmed fault")
        yield _Row(line, row["clip"], kind, _part(row, f"{path}, line {line}"))


def _kind(row: Mapping[str, str]) -> str:
    """The kind of a row in characters that names of variants may hold."""
    text = next((row[column] for column in KINDS if column in row), "").lower()
    words = " ".join(re.sub(r"[^\w.,()-]+", " ", text).split())
    return words[:LONGEST].strip() or FAULT


def _part(row: Mapping[str, str], where: str) -> tuple[float, float] | None:
    """Start and end in seconds of the marked part; None for the whole recording."""
    if window := window_of(row["clip"]):
        return window.start_s, window.end_s
    start, end = row.get("start_s", ""), row.get("end_s", "")
    if not end:
        return None
    try:
        part = float(start or 0), float(end)
    except ValueError:
        part = (0.0, 0.0)
    if not 0 <= part[0] < part[1] < float("inf"):
        raise DataError(f"{where}: the part from {start!r} to {end!r}; expected seconds, the end after the start")
    return part
