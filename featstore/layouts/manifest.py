"""Recordings, or windows of them, listed in a CSV or Parquet manifest with named columns."""

import csv
import json
import math
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from featstore.clip import DOMAINS, LABELS, SPLITS, Clip, Domain, Label, Split, recording_of, window_of, window_path
from featstore.errors import DataError, reason_of
from featstore.layouts.dcase import Reading
from featstore.layouts.tree import Tree, leads_out
from featstore.spec import did_you_mean

MANIFEST_SUFFIXES = (".csv", ".parquet")

TIMES = ("start_s", "end_s")
COLUMNS = ("path", *TIMES, "machine", "section", "split", "domain", "label", "attributes")
ATTRIBUTE_PREFIX = "attr_"
MAX_SECONDS = 1e9
CHOICES = {"split": SPLITS, "domain": DOMAINS, "label": LABELS}


def read_manifest(tree: Tree) -> Reading:
    """One clip per row of a table with the column path and any of the other COLUMNS or attr_<name>.

    Paths are relative to the table's folder; attributes is a JSON object. With start_s and end_s, in seconds, the clip
    is that window of the recording. A missing column or an empty cell means: the whole recording; machine = first
    folder of the path, else the table's folder; section = "00"; split = "test" for a labelled anomaly, else "train";
    domain and label = "unknown"; no attribute. DataError names file, row and column.
    """
    if tree.listed_in is None:
        raise DataError(f"{tree.root}: layout manifest needs a table ({' or '.join(MANIFEST_SUFFIXES)}); give its path")
    table = tree.listed_in
    rows = _csv_rows(table) if table.suffix.lower() == ".csv" else _parquet_rows(table)
    listed = [(f"{table}, row {number}", row) for number, row in rows]
    clips = [_clip(where, row, tree) for where, row in listed]
    places = [(where, clip.path) for (where, _), clip in zip(listed, clips, strict=True)]
    return Reading(clips, [f"{len(clips):,} rows of {table}", *check_paths(tree.root, places)])


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, strict=True)
            header = _check_header(path, next(reader, []))
            for cells in reader:
                if len(cells) not in (0, len(header)):
                    raise DataError(
                        f"{path}, row {reader.line_num}: {len(cells)} cells, but the header has {len(header)}"
                    )
                if cells:
                    yield reader.line_num, dict(zip(header, cells, strict=True))
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: {reason_of(error)}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"{path}: Parquet needs pyarrow; install featstore[parquet], or give a CSV file") from error
    try:
        table = ParquetFile(path).read()  # read_table would add columns named in the folders above
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: {reason_of(error)}") from error
    header = _check_header(path, table.column_names)
    columns = [[_cell(path, name, value) for value in table[name].to_pylist()] for name in header]
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        yield number, dict(zip(header, cells, strict=True))


def _cell(path: Path, name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict) and name == "attributes":
        return json.dumps({key: item for key, item in value.items() if item is not None})
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        isinstance(value, str)
        or (name in TIMES and is_number)
        or (name not in COLUMNS and isinstance(value, int | float))
    ):
        return str(value)
    raise DataError(f"{path}, column {name}: expected text, got {value!r} ({type(value).__name__})")


def _check_header(path: Path, header: list[str]) -> list[str]:
    known = f"known: {', '.join(COLUMNS)}, {ATTRIBUTE_PREFIX}<name>"
    for name in header:
        if name not in COLUMNS and not (name.startswith(ATTRIBUTE_PREFIX) and len(name) > len(ATTRIBUTE_PREFIX)):
            raise DataError(f"{path}: unknown column {name!r}{did_you_mean(name, COLUMNS)} ({known})")
        if header.count(name) > 1:
            raise DataError(f"{path}: column {name!r} occurs {header.count(name)} times; keep one")
    if "path" not in header:
        raise DataError(f"{path}: no column path ({known})")
    return header


def _clip(where: str, row: Mapping[str, str], tree: Tree) -> Clip:
    for column, choices in CHOICES.items():
        value = row.get(column, "")
        if value and value not in choices:
            raise DataError(
                f"{where}, column {column}: expected {', '.join(choices)}; got {value!r}{did_you_mean(value, choices)}"
            )
    path = relative_path(f"{where}, column path", row["path"])
    folder, slash, _ = path.partition("/")
    label = row.get("label") or "unknown"
    return Clip(
        path=_with_window(where, path, row),
        machine=row.get("machine") or (folder if slash else tree.root.resolve().name or "machine"),
        section=row.get("section") or "00",
        split=cast(Split, row.get("split") or ("test" if label == "anomaly" else "train")),
        domain=cast(Domain, row.get("domain") or "unknown"),
        label=cast(Label, label),
        attributes=_attributes(where, row),
    )


def _with_window(where: str, path: str, row: Mapping[str, str]) -> str:
    """The path with the window of a row, if the row has one."""
    if window_of(path):
        raise DataError(
            f"{where}, column path: {path!r} names a window; give its times in the columns start_s and end_s"
        )
    texts = [row.get(name, "") for name in TIMES]
    if not any(texts):
        return path
    for name, text in zip(TIMES, texts, strict=True):
        if not text:
            raise DataError(f"{where}, column {name}: empty; give both start_s and end_s, or neither")
    start_s, end_s = (seconds(f"{where}, column {name}", text) for name, text in zip(TIMES, texts, strict=True))
    return checked_window(f"{where}, column end_s", path, start_s, end_s)


def seconds(where: str, text: str) -> float:
    """A time from the beginning of a recording; DataError with `where` for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < MAX_SECONDS:
        raise DataError(f"{where}: expected seconds from the beginning of the recording, got {text!r}")
    return value


def checked_window(where: str, path: str, start_s: float, end_s: float) -> str:
    """The path of a window; DataError with `where` unless its end, in microseconds, is after its start."""
    if round(end_s, 6) <= round(start_s, 6):
        raise DataError(
            f"{where}: the window ends at {end_s:g} s and starts at {start_s:g} s; it must end after its start"
        )
    return window_path(path, start_s, end_s)


def _attributes(where: str, row: Mapping[str, str]) -> dict[str, str]:
    text = row.get("attributes") or "{}"
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}, column attributes: {text!r} is not JSON ({error})") from error
    if not isinstance(parsed, dict) or any(isinstance(value, dict | list) for value in parsed.values()):
        raise DataError(f'{where}, column attributes: expected a JSON object like {{"vel": "6"}}, got {text!r}')
    attributes = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parsed.items()}
    for column, value in row.items():
        key = column.removeprefix(ATTRIBUTE_PREFIX)
        if key == column or not value:
            continue
        if key in attributes:
            raise DataError(
                f"{where}: attribute {key!r} is in column attributes and in column {column}; keep one of them"
            )
        attributes[key] = value
    return attributes


def relative_path(where: str, path: str) -> str:
    """The path in its shortest form; DataError where it can lead out of the folder of the list."""
    if not path or "\0" in path:
        raise DataError(f"{where}: expected the path of a recording, got {path!r}")
    if path.startswith("/") or path[1:3] in (":\\", ":/"):
        raise DataError(f"{where}: {path!r} is absolute; give it relative to the folder of the list")
    if ".." in path.split("/"):
        raise DataError(f"{where}: {path!r} contains '..'; recordings must be below the folder of the list")
    return posixpath.normpath(path)


def check_paths(root: Path, places: Iterable[tuple[str, str]]) -> list[str]:
    """A note about missing files, which a build rejects; DataError for duplicates and for what is no file below `root`.

    places: where a path is listed, and the path, which may name a window. Each folder is listed once, which is faster
    than a stat per file.
    """
    real_root = os.path.realpath(root)
    folders: dict[str, dict[str, os.DirEntry[str]]] = {}
    seen: dict[str, str] = {}
    recordings: dict[str, str] = {}
    missing = []
    for where, path in places:
        if path in seen:
            raise DataError(f"{where}: {path!r} is already listed at {seen[path].rpartition(', ')[2]}; keep one")
        seen[path] = where
        recordings.setdefault(recording_of(path), where)
    for path, where in recordings.items():
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = _entries(where, root / folder, real_root)
        entry = folders[folder].get(name)
        if entry is None:
            missing.append(path)
        elif (entry.is_symlink() and leads_out(entry.path, real_root)) or not entry.is_file():
            raise DataError(
                f"{where}: {path!r} is not a file below {root}; devices and links that lead out are not read"
            )
    return [f"{len(missing):,} listed recordings are missing, first {missing[0]!r}"] if missing else []


def _entries(where: str, folder: Path, real_root: str) -> dict[str, os.DirEntry[str]]:
    if leads_out(str(folder), real_root):
        raise DataError(f"{where}: folder {str(folder)!r} is a link that leads out of the folder of the list; copy it")
    try:
        return {entry.name: entry for entry in os.scandir(folder)}
    except OSError:
        return {}
