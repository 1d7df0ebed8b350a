"""Recordings, or windows of them, listed in a CSV or Parquet manifest with named columns."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from featstore.clip import DOMAINS, SPLITS, Clip, Domain, Label, Split, window_of, window_path
from featstore.errors import DataError, reason_of
from featstore.layouts.csv_text import csv_rows
from featstore.layouts.dcase import Reading
from featstore.layouts.labels import EXPECTED, FLAG_COLUMNS, label_of, label_of_flag
from featstore.layouts.listed import Disk, check_paths
from featstore.layouts.tree import Tree, notes_on_unread
from featstore.spec import did_you_mean
from featstore.terminal.shown import counted

MANIFEST_SUFFIXES = (".csv", ".parquet")

TIMES = ("start_s", "end_s")
COLUMNS = ("path", *TIMES, "machine", "section", "split", "domain", "label", "attributes")
ATTRIBUTE_PREFIX = "attr_"
MAX_SECONDS = 1e9
CHOICES = {"split": SPLITS, "domain": DOMAINS}
NUMBERED = ("machine", "section")
"""Columns of names that may be numbers."""

NUMBER = re.compile(r"([0-9]+)(?:\.0+)?")
UNNAMED = re.compile(r"(?:Unnamed: [0-9]+)?")


def read_manifest(tree: Tree) -> Reading:
    """One clip per row of a table with the column path and any of the other COLUMNS or attr_<name>.

    Paths are relative to the table's folder; attributes is a JSON object. With start_s and end_s, in seconds, the clip
    is that window of the recording. A missing column or an empty cell means: the whole recording; machine = first
    folder of the path, else the table's folder; section = "00"; split = "test" for a labelled anomaly, else "train";
    domain and label = "unknown"; no attribute. Labels are the words of `labels`, or 0 and 1 in a column of its
    FLAG_COLUMNS. DataError names file, row and column.
    """
    if tree.listed_in is None:
        raise DataError(f"{tree.root}: layout manifest needs a table ({' or '.join(MANIFEST_SUFFIXES)}); give its path")
    table = tree.listed_in
    rows = _csv_rows(table) if table.suffix.lower() == ".csv" else _parquet_rows(table)
    listed = [(f"{table}, row {number}", row) for number, row in rows]
    disk = Disk(tree.root)
    clips = [clip_of(where, row, disk) for where, row in listed]
    places = [(where, clip.path) for (where, _), clip in zip(listed, clips, strict=True)]
    notes = [f"{counted(len(clips), 'row')} of {table}", *check_paths(disk, places), *_number_notes(listed)]
    return Reading(clips, [*notes, *notes_on_unread(clip.recording for clip in clips)])


def _number_notes(listed: list[tuple[str, dict[str, str]]]) -> list[str]:
    changed = {row["section"] for _, row in listed if row.get("section") and _section(row["section"]) != row["section"]}
    if not changed:
        return []
    first = min(changed)
    return [f"sections that lost their zeros are written with two digits, as folders are: {first} is {_section(first)}"]


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    rows = csv_rows(path, is_raw=lambda rows: _name_files(path.parent, rows))
    _, first = next(rows)
    header = _check_header(path, first)
    for number, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{path}, row {number}: {len(cells)} cells, but the header has {len(header)}")
        yield number, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _name_files(root: Path, rows: list[list[str]]) -> bool:
    """Whether a cell whose bytes are no text is the name of a file."""
    odd = (cell for cells in rows for cell in cells if any("\udc80" <= letter <= "\udcff" for letter in cell))
    return any(os.path.lexists(root / cell) for cell in odd)


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
    columns = [
        [cell_text(path, name, value) for value in table[own].to_pylist()] if name else [""] * len(table)
        for name, own in zip(header, table.column_names, strict=True)
    ]
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        yield number, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def cell_text(path: Path, name: str, value: Any) -> str:
    """A cell of a table with types as the text of a CSV file; DataError where its type does not fit its column."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN is an empty cell of pandas
        return ""
    if isinstance(value, dict) and name == "attributes":
        return json.dumps({key: item for key, item in value.items() if item is not None})
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        isinstance(value, str)
        or (name in (*TIMES, *NUMBERED) and is_number)
        or (name not in COLUMNS and isinstance(value, int | float))
    ):
        return str(value)
    raise DataError(f"{path}, column {name}: expected text, got {value!r} ({type(value).__name__})")


def _check_header(path: Path, columns: list[str]) -> list[str]:
    """Names of the columns, empty for those without one: row numbers of a table of pandas, or empty ones of Excel."""
    known = f"known: {', '.join(COLUMNS)}, {ATTRIBUTE_PREFIX}<name>, or one of {', '.join(FLAG_COLUMNS)} with 0 and 1"
    header = [_name(column) for column in columns]
    for name in header:
        is_attribute = name.startswith(ATTRIBUTE_PREFIX) and len(name) > len(ATTRIBUTE_PREFIX)
        if name and name not in COLUMNS and name not in FLAG_COLUMNS and not is_attribute:
            raise DataError(f"{path}: unknown column {name!r}{did_you_mean(name, COLUMNS)} ({known})")
        if name and header.count(name) > 1:
            raise DataError(f"{path}: column {name!r} occurs {header.count(name)} times; keep one")
    if "path" not in header:
        raise DataError(f"{path}: no column path ({known})")
    labels = [name for name in header if name == "label" or name in FLAG_COLUMNS]
    if len(labels) > 1:
        raise DataError(f"{path}: the columns {' and '.join(labels)} all state a label; keep one")
    return header


def _name(column: str) -> str:
    """The name of a column; "" for none, which pandas calls Unnamed: 0 when it reads its own table."""
    plain = column.strip()
    if plain.lower() in COLUMNS or plain.lower() in FLAG_COLUMNS:
        return plain.lower()
    return "" if UNNAMED.fullmatch(plain) else column


def _label(where: str, row: Mapping[str, str]) -> Label:
    column = next((name for name in row if name in FLAG_COLUMNS), "")
    cell = row.get(column or "label", "").strip()
    if not cell:
        return "unknown"
    if cell.lower() == "unknown" and not column:
        return "unknown"
    label = label_of_flag(column, cell) if column else label_of(cell)
    if label is None and column:
        raise DataError(f"{where}, column {column}: expected 0 or 1, got {cell!r}")
    if label is None:
        flags = ""
        if cell in ("0", "1", "0.0", "1.0"):
            flags = "; name the column anomaly or normal, so that it says what 1 means"
        raise DataError(f"{where}, column label: expected {EXPECTED}; got {cell!r}{flags}")
    return label


def _section(cell: str) -> str:
    """The section of a cell: programs that take "00" for a number write 0 or 0.0."""
    number = NUMBER.fullmatch(cell.strip())
    return number[1].zfill(2) if number else cell or "00"


def clip_of(where: str, row: Mapping[str, str], disk: Disk) -> Clip:
    """The clip of a row: name of a column -> text of its cell, as of `read_manifest`."""
    split, domain = (row.get(column, "").strip().lower() for column in CHOICES)
    for (column, choices), value in zip(CHOICES.items(), (split, domain), strict=True):
        if value and value not in choices:
            raise DataError(
                f"{where}, column {column}: expected {', '.join(choices)}; got {value!r}{did_you_mean(value, choices)}"
            )
    path = disk.spelt(f"{where}, column path", row["path"])
    folder, slash, _ = path.partition("/")
    label = _label(where, row)
    return Clip(
        path=_with_window(where, path, row),
        machine=row.get("machine") or (folder if slash else disk.root.resolve().name or "machine"),
        section=_section(row.get("section", "")),
        split=cast(Split, split or ("test" if label == "anomaly" else "train")),
        domain=cast(Domain, domain or "unknown"),
        label=label,
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
