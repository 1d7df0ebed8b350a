"""CSV tables: numbered columns or a column of vectors, whose other columns describe the rows."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from featstore.errors import DataError
from featstore.exchange.kinds import own
from featstore.exchange.kinds.columns import clips_of, note_on, numbered
from featstore.exchange.kinds.content import Content, Source, checked_matrix, or_error
from featstore.layouts.csv_text import delimiter_of, encoding_of
from featstore.table import COLUMNS

MAX_CELL = 1 << 22
"""Characters of a cell: a vector of some 100,000 numbers."""

NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_VECTOR = re.compile(rf"\s*[\[(]?\s*{NUMBER}(?:[\s,;]+{NUMBER})+[\s,;]*[\])]?\s*")


_DECIMAL_COMMA = re.compile(r"\s*[-+]?[0-9]+,[0-9]+(?:[eE][-+]?[0-9]+)?\s*")


class _Layout(NamedTuple):
    """Where the numbers are: positions of numbered columns, or of one column of vectors; the others by name."""

    numbers: list[int]
    is_vector: bool
    others: dict[str, int]


def read_csv(source: Source) -> Content:
    """The embeddings of a CSV file in UTF-8: an export of this program, or any table with vectors.

    Vectors are the columns PREFIX0, PREFIX1, ..., or a column whose cells hold numbers separated by commas or spaces,
    in brackets or not. DataError names file, row and column.
    """
    try:
        return _read(source)
    except OSError as error:
        raise DataError(f"{source.path}: {error.strerror or error}") from error
    except csv.Error as error:
        raise DataError(f"{source.path}: not a CSV file: {error}") from error


def _read(source: Source) -> Content:
    rows = _rows(source.path)
    _, header = next(rows, (0, []))
    number, first = next(rows, (0, []))
    if not first:
        raise DataError(f"{source.path}: no rows; expected a header and one line per clip")
    layout = _layout(source, header, first)
    matrix, cells = _columns(source.path, header, layout, _chain((number, first), rows))
    checked_matrix(matrix, str(source.path))
    if {*COLUMNS, own.NOTE} <= set(cells):
        return _export(source, matrix, cells)
    cells.pop(own.NOTE, None)
    used = header[layout.numbers[0]] + ("" if layout.is_vector else f" to {header[layout.numbers[-1]]}")
    clips = or_error(lambda: clips_of(source, cells, len(matrix)))
    return Content(matrix, clips, notes=(note_on(source, used, cells),))


def _export(source: Source, matrix: np.ndarray, cells: dict[str, list[str]]) -> Content:
    note = next(filter(None, cells[own.NOTE]), "")
    clips = or_error(lambda: own.clips_of_export(source.path, cells))
    return own.export_content(source, own.shaped(matrix, note), clips, note, ((), ""))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not empty, one at a time: a table of embeddings can be large."""
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4))
    with _long_cells(), path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
        first = file.readline(MAX_CELL)
        if "\0" in first:
            raise DataError(f"{path}: not a CSV file in UTF-8 or UTF-16")
        delimiter, is_hint = delimiter_of(first)
        if not is_hint:
            file.seek(0)
        reader = csv.reader(file, strict=True, delimiter=delimiter)
        yield from ((reader.line_num + is_hint, cells) for cells in reader if any(cells))


@contextmanager
def _long_cells() -> Iterator[None]:
    """Cells of up to MAX_CELL characters, for a vector in one cell; the limit belongs to the whole process."""
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _chain(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _layout(source: Source, header: Sequence[str], first: Sequence[str]) -> _Layout:
    """Which columns hold numbers, from the header and the first row."""
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise DataError(f"{source.path}: the column {repeated[0]!r} occurs twice; keep one")
    places = {name: place for place, name in enumerate(header) if name}
    vectors = [name for name, place in places.items() if place < len(first) and _VECTOR.fullmatch(first[place])]
    decimal = next(
        (name for name in vectors if name[-1].isdigit() and _DECIMAL_COMMA.fullmatch(first[places[name]])), ""
    )
    if decimal and (len(vectors) > 1 or source.key):
        raise DataError(
            f"{source.path}: column {decimal} has numbers with a decimal comma ({first[places[decimal]]}); save the "
            "table with decimal points"
        )
    is_vector = source.key in vectors or (source.key is None and len(vectors) == 1)
    if is_vector:
        numbers = [places[source.key or vectors[0]]]
    elif source.key is None and len(vectors) > 1:
        raise DataError(f"{source.path}: columns of vectors: {', '.join(vectors)}; name one (--key)")
    else:
        numbers = [places[name] for name in _numbered(source, list(places))]
    others = {name: place for name, place in places.items() if place not in set(numbers)}
    return _Layout(numbers, is_vector, others)


def _numbered(source: Source, names: list[str]) -> list[str]:
    try:
        return numbered(names, source.key)
    except ValueError as error:
        raise DataError(f"{source.path}: expected numbered columns or a column of vectors: {error}") from error


def _columns(
    path: Path, header: Sequence[str], layout: _Layout, rows: Iterator[tuple[int, list[str]]]
) -> tuple[np.ndarray, dict[str, list[str]]]:
    """The matrix, and the other columns as texts."""
    vectors: list[np.ndarray] = []
    cells: dict[str, list[str]] = {name: [] for name in layout.others}
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {number}: {len(row)} cells, but the header has {len(header)}")
        vectors.append(_vector(f"{path}, line {number}", row, header, layout))
        if len(vectors[-1]) != len(vectors[0]):
            raise DataError(
                f"{path}, line {number}: a vector of {len(vectors[-1])} numbers, the first has {len(vectors[0])}"
            )
        for name, place in layout.others.items():
            cells[name].append(row[place])
    return np.stack(vectors), cells


def _vector(where: str, row: Sequence[str], header: Sequence[str], layout: _Layout) -> np.ndarray:
    texts = [row[place] for place in layout.numbers]
    if layout.is_vector:
        texts = re.split(r"[\s,;]+", texts[0].strip(" \t\r\n[](),;"))
    try:
        with np.errstate(over="ignore"):  # an overflow is reported with its row
            return np.array(texts, dtype=np.float64).astype(np.float32)
    except ValueError:
        wrong = next(place for place, text in enumerate(texts) if not _is_number(text))
        name = header[layout.numbers[0 if layout.is_vector else wrong]]
        raise DataError(f"{where}, column {name}: expected a number, got {texts[wrong]!r:.60}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
