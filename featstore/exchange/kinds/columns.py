"""Columns of a foreign table as clips: names near those of a manifest, numbered columns, and paths with windows."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from featstore.clip import VARIANT_MARK, Clip, recording_of, window_of, window_path
from featstore.errors import DataError
from featstore.exchange.kinds.content import Source
from featstore.layouts.labels import FLAG_COLUMNS
from featstore.layouts.listed import Disk, check_texts
from featstore.layouts.manifest import ATTRIBUTE_PREFIX, TIMES, cell_text, clip_of
from featstore.table import ClipTable

Columns = Mapping[str, Sequence[Any]]

NEAR: Mapping[str, tuple[str, ...]] = {
    "path": (
        *("path", "file_path", "filepath", "file", "filename", "file_name", "clip", "recording", "audio", "wav"),
        *("source", "input", "key"),
    ),
    "start_s": ("start_s", "start", "start_time", "begin", "t_start"),
    "end_s": ("end_s", "end", "end_time", "stop", "t_end"),
    "machine": ("machine", "machine_type"),
    "section": ("section",),
    "split": ("split",),
    "domain": ("domain",),
    "label": ("label",),
    "attributes": ("attributes",),
    "variant": ("variant",),
}
"""Column of a clip -> the names under which foreign tables have it, in any case."""

EXPECTED = f"a column of paths ({', '.join(NEAR['path'])})"
_NUMBERED = re.compile(r"(.*?)([0-9]+)", re.DOTALL)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")

SHOWN = 10
"""Columns that a note lists."""


def describing(names: Iterable[str]) -> dict[str, str]:
    """Column of a clip -> name in the table, of the columns that describe rows; DataError where two mean the same.

    Attributes (`attr_*`) and flags (`anomaly`) keep their names. A plural (`labels`) counts where there is no singular.
    """
    meanings: dict[str, list[str]] = {}
    plurals: dict[str, list[str]] = {}
    for name in names:
        plain = re.sub(r"[\s-]+", "_", name.strip().lower())
        own = plain in FLAG_COLUMNS or name.startswith(ATTRIBUTE_PREFIX)
        meaning = (plain if plain in FLAG_COLUMNS else name) if own else _meaning(plain)
        plural = _meaning(plain.removesuffix("s"))
        if meaning:
            meanings.setdefault(meaning, []).append(name)
        elif plural:
            plurals.setdefault(plural, []).append(name)
    chosen = {}
    for meaning, candidates in (plurals | meanings).items():
        exact = [name for name in candidates if name == meaning]
        if len(candidates) > 1 and not exact:
            raise DataError(f"columns {', '.join(candidates)} could all be {meaning}; rename one of them to {meaning}")
        chosen[meaning] = (exact or candidates)[0]
    labels = [name for meaning, name in chosen.items() if meaning == "label" or meaning in FLAG_COLUMNS]
    if len(labels) > 1:
        raise DataError(f"columns {' and '.join(labels)} both state a label; keep one")
    return chosen


def _meaning(plain: str) -> str:
    return next((column for column, near in NEAR.items() if plain in near), "")


def note_on(source: Source, embeddings: str, others: Iterable[str]) -> str:
    """The line for the user on the embeddings that are read, and on `others`, the columns beside them, not used."""
    names = list(others)
    try:
        unused = sorted(set(names) - set(describing(names).values()))
    except DataError:
        unused = []
    rest = f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else ""
    without = f"; columns not used: {', '.join(unused[:SHOWN])}{rest}" if unused else ""
    return f"{source.path}: embeddings of {embeddings}{without}"


def clips_of(source: Source, columns: Columns, n_rows: int) -> ClipTable:
    """The clip of every row of `columns` (name in the table -> values); DataError says what is missing or wrong.

    A path may be a key of this program: `a.wav#t=5,15` for a window, `a.wav::VARIANT` for a generated variant. Cells
    mean what they mean in a manifest.
    """
    try:
        chosen = describing(columns)
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error
    if "path" not in chosen:
        has = ", ".join(columns) or "none"
        raise DataError(
            f"{source.path}: no description of its rows: expected {EXPECTED}, its columns are {has}; rename one, or "
            "give --manifest with a CSV or Parquet file of one line per row (column path, optionally machine, section, "
            "split, domain, label)"
        )
    lengths = {name: len(columns[name]) for name in chosen.values() if len(columns[name]) != n_rows}
    if lengths:
        raise DataError(f"{source.path}: {n_rows} embeddings, but columns of other lengths: {lengths}")
    cells = {meaning: columns[name] for meaning, name in chosen.items()}
    clips = list(_clips(source, cells))
    check_texts(clips)
    return ClipTable.from_clips(clips)


def _clips(source: Source, cells: Columns) -> Iterator[Clip]:
    disk = Disk(source.root)
    texts = {name: _converter(source, name) for name in cells}
    for number, values in enumerate(zip(*cells.values(), strict=True), start=1):
        row = {name: texts[name](value) for name, value in zip(cells, values, strict=True)}
        where = f"{source.path}, row {number}"
        key, mark, variant = row["path"].partition(VARIANT_MARK)
        variant = row.pop("variant", "") or variant
        if mark and not variant:
            raise DataError(f"{where}: {row['path']!r} ends in {VARIANT_MARK!r}, which marks a variant; name it")
        row["path"] = _slashed(relative_to(where, recording_of(key), source), disk)
        yield replace(clip_of(where, _with_times(where, key, row), disk), variant=variant)


def _converter(source: Source, name: str) -> Callable[[Any], str]:
    return partial(_label_text if name == "label" else cell_text, source.path, name)


def _label_text(path: Path, name: str, value: Any) -> str:
    """A label as text. Numbers are refused later, with the row and what to do, as in a CSV file."""
    return str(int(value)) if value in (0, 1) else cell_text(path, name, value)


def relative_to(where: str, path: str, source: Source) -> str:
    """`path`, without the root in front of an absolute one or an address; DataError where it is not below it."""
    plain = _absolute(path)
    if not plain:
        return path
    for root in dict.fromkeys((str(source.root), str(source.root.resolve()))):
        prefix = (_absolute(root) or root).rstrip("/") + "/"
        if plain.startswith(prefix):
            return plain[len(prefix) :]
    raise DataError(
        f"{where}: {path!r} is absolute and not below {source.root}; give --root FOLDER, the start of these paths that "
        "is to be cut off"
    )


def _slashed(path: str, disk: Disk) -> str:
    """A relative path of Windows with slashes, unless a file on this disk has backslashes in its name."""
    return path.replace("\\", "/") if "\\" in path and disk.entry(path) is None else path


def _absolute(path: str) -> str:
    """An absolute path or address with slashes, the drive as a capital letter; "" for a relative path."""
    if path.startswith("file:/"):
        return _absolute(unquote(re.sub("file:/+(?:localhost/)?", "/", path)))
    address = _URL.match(path)
    if address:
        return f"{address[1]}:/{path[address.end() :]}"
    if _DRIVE.match(path) or path.startswith("\\\\"):
        return path[:1].upper() + path[1:].replace("\\", "/") if path[0] != "\\" else path.replace("\\", "/")
    return path if path.startswith("/") else ""


def _with_times(where: str, key: str, row: Mapping[str, str]) -> dict[str, str]:
    """The row with the times of the window that its path names; DataError where columns state other ones."""
    window = window_of(key)
    if window is None:
        return dict(row)
    stated = [row.get(name, "") for name in TIMES]
    if all(stated) and window_path("x", *map(_number, stated)) != window_path("x", *window):
        raise DataError(f"{where}: {key!r} names a window, but start and end are {stated[0]} and {stated[1]}; keep one")
    return {**row, **dict(zip(TIMES, map(repr, window), strict=True))}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def numbered(names: Sequence[str], key: str | None) -> list[str]:
    """The columns PREFIX0, PREFIX1, ... in the order of their numbers; ValueError where none or one is missing.

    key: PREFIX; None where the table has one such group of at least two columns.
    """
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            groups.setdefault(match[1], {})[int(match[2])] = name
    if key is None:
        found = [prefix for prefix, group in groups.items() if len(group) > 1]
        if len(found) != 1:
            several = f"several groups of numbered columns ({', '.join(map(repr, found))})"
            raise ValueError(
                f"{several if found else 'no numbered columns such as e0, e1, ...'}; name one (--key PREFIX)"
            )
        key = found[0]
    if key not in groups:
        raise ValueError(f"no columns {key}0, {key}1, ...; its columns are {', '.join(names[:20])}")
    group = groups[key]
    first = min(group)
    missing = [number for number in range(first, first + len(group)) if number not in group]
    if missing or first > 1:
        raise ValueError(f"columns {key}{first}, ... lack {key}{missing[0] if missing else 0}; name all of them")
    return [group[number] for number in sorted(group)]


def texts(values: np.ndarray) -> list[Any]:
    """Values of a one-dimensional array for `clips_of`: bytes as text, numbers as they are."""
    if values.dtype.kind in "SO":
        return [value.decode("utf-8", "surrogateescape") for value in values.tolist()]
    return list(values.tolist())
