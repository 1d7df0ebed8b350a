"""Tables of Arrow: a column of vectors or numbered columns, whose other columns describe the rows."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from featstore.errors import DataError
from featstore.exchange.kinds import own
from featstore.exchange.kinds.columns import clips_of, describing, note_on, numbered
from featstore.exchange.kinds.content import Content, Source, check_expanded, checked_matrix, or_error
from featstore.table import COLUMNS, ClipTable

NOTE_KEY = own.NOTE.encode()


class Rows(Protocol):
    """A table in a file, of which columns are read on demand. note: of an export whose vectors have their shape."""

    schema: Any
    n_rows: int
    note: str

    def read(self, columns: list[str]) -> Any:
        """Columns as an Arrow table."""
        ...

    def batches(self, name: str) -> Iterator[Any]:
        """A column in parts, as arrays of Arrow."""
        ...

    def count(self, name: str) -> int:
        """How many numbers a column has."""
        ...


def content_of_table(source: Source, file: Rows) -> Content:
    """The embeddings of an export of this program, or of any table with vectors; see `arrow_files`."""
    return _export(source, file) if _is_export(file) else _table(source, file)


def _is_export(file: Rows) -> bool:
    stated = b"shape" in (file.schema.metadata or {}) or file.note
    return {*COLUMNS, "embedding"} <= set(file.schema.names) and bool(stated)


def _export(source: Source, file: Rows) -> Content:
    matrix = _vectors(source.path, file, source.key or "embedding")
    texts = file.read(list(COLUMNS))
    clips: ClipTable | DataError = or_error(
        lambda: own.clips_of_export(source.path, {name: _column(texts, name) for name in COLUMNS})
    )
    if file.note:
        return own.export_content(source, matrix, clips, file.note, ((), ""))
    stated = file.schema.metadata
    shape, views = (json.loads(stated.get(name, b"[]")) for name in (b"shape", b"views"))
    counts = isinstance(shape, list) and all(type(n) is int and 0 < n < 1 << 31 for n in shape)
    if not counts or matrix.ndim != 2 or math.prod(shape) != matrix.shape[1]:
        raise ValueError(f"not an export of this program: rows of shape {matrix.shape[1:]}, stated {shape!r:.80}")
    note, channel = (stated.get(name, b"").decode("utf-8", "replace") for name in (NOTE_KEY, b"channel"))
    named = views if isinstance(views, list) and all(isinstance(name, str) for name in views) else []
    shaped = checked_matrix(matrix.reshape(len(matrix), *shape), str(source.path))
    return own.export_content(source, shaped, clips, note, (named, channel))


def _column(table: Any, name: str) -> list[str]:
    values: list[str] = table[name].to_pylist()
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"column {name} of an export lacks texts")
    return values


def _table(source: Source, file: Rows) -> Content:
    import pyarrow.types as kinds

    schema = file.schema
    vectors = [field.name for field in schema if _is_vector(field.type)]
    numbers = [field.name for field in schema if kinds.is_integer(field.type) or kinds.is_floating(field.type)]
    if source.key in vectors or (source.key is None and len(vectors) == 1):
        used = [source.key or vectors[0]]
        matrix = _vectors(source.path, file, used[0])
    elif source.key is None and len(vectors) > 1:
        raise DataError(f"{source.path}: columns of vectors: {', '.join(vectors)}; name one (--key)")
    else:
        used = _numbered(source, schema.names, numbers)
        matrix = _numbers(source.path, file, used)
    others = [field.name for field in schema if field.name not in used and not _is_nested(field.type, field.name)]
    clips = or_error(lambda: _clips(source, file, others, len(matrix)))
    range_ = used[0] if len(used) == 1 else f"{used[0]} to {used[-1]}"
    return Content(checked_matrix(matrix, str(source.path)), clips, notes=(note_on(source, range_, others),))


def _is_vector(kind: Any) -> bool:
    """Whether a column holds lists, or lists of lists, of numbers."""
    import pyarrow.types as kinds

    inner = _inner(_inner(kind))
    return _inner(kind) is not kind and bool(kinds.is_integer(inner) or kinds.is_floating(inner))


def _inner(kind: Any) -> Any:
    """The type of the values of a list; the type itself where it is none."""
    import pyarrow

    storage = getattr(kind, "storage_type", kind)
    lists = (pyarrow.ListType, pyarrow.LargeListType, pyarrow.FixedSizeListType)
    return storage.value_type if isinstance(storage, lists) else storage


def _is_nested(kind: Any, name: str) -> bool:
    """Whether a column cannot describe rows: lists, and structs other than attributes."""
    import pyarrow.types as kinds

    return bool(kinds.is_nested(kind)) and not (name == "attributes" and kinds.is_struct(kind))


def _numbered(source: Source, names: list[str], numbers: list[str]) -> list[str]:
    if source.key is not None and source.key in names:
        raise DataError(f"{source.path}: the column {source.key} holds no vectors; name another one (--key)")
    try:
        return numbered(numbers, source.key)
    except ValueError as error:
        raise DataError(f"{source.path}: expected a column of vectors or numbered columns: {error}") from error


def _clips(source: Source, file: Rows, others: list[str], n_rows: int) -> ClipTable:
    try:
        wanted = list(describing(others).values())
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error
    table = file.read(wanted)
    return clips_of(source, {name: table[name].to_pylist() if name in wanted else () for name in others}, n_rows)


def _vectors(path: Path, file: Rows, name: str) -> np.ndarray:
    """A column of lists as (n, d), of lists of lists as (n, views, d); ValueError for other columns and shapes."""
    if name not in file.schema.names or not _is_vector(file.schema.field(name).type):
        raise ValueError(f"no column {name!r} of vectors; its columns are {', '.join(file.schema.names[:20])}")
    check_expanded(path, 4 * file.count(name))
    blocks = [_block(column, f"column {name}", start) for start, column in _batches(file, name)]
    widths = [block.shape[1:] for block in blocks]
    other = next((place for place, width in enumerate(widths) if width != widths[0]), None)
    if other is not None:
        row = sum(map(len, blocks[:other])) + 1
        raise ValueError(f"column {name}, row {row}: a vector of length {widths[other]}, the first has {widths[0]}")
    return np.concatenate(blocks) if blocks else np.empty((0, 0), dtype=np.float32)


def _batches(file: Rows, name: str) -> Iterator[tuple[int, Any]]:
    """The column in parts, each with the number of its first row."""
    start = 0
    for column in file.batches(name):
        if len(column):
            yield start, column
        start += len(column)


def _block(column: Any, where: str, start: int) -> np.ndarray:
    """Lists of numbers as an array, lists of lists with one more axis; ValueError names the first row that differs."""
    column = getattr(column, "storage", column)
    shape = [len(column)]
    while _inner(column.type) is not column.type:
        if column.null_count:
            row = start + 1 + _first_null(column) // math.prod(shape[1:])
            raise ValueError(f"{where}, row {row}: an empty cell; every row needs its vector")
        shape.append(_width(column, where, start, math.prod(shape[1:])))
        column = column.flatten()
    if column.null_count:
        row = start + 1 + _first_null(column) // math.prod(shape[1:])
        raise ValueError(f"{where}, row {row}: a vector with an empty value or NaN; fill or remove this row")
    numbers: np.ndarray = column.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape)


def _first_null(column: Any) -> int:
    return int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))) if column.null_count else 0


def _width(column: Any, where: str, start: int, per_row: int) -> int:
    """The length of all lists of a column."""
    from pyarrow.compute import list_value_length

    lengths: np.ndarray = list_value_length(column).to_numpy(zero_copy_only=False)
    other = np.flatnonzero((lengths != lengths[0]) | (lengths == 0))
    if other.size:
        row, length = start + 1 + int(other[0]) // per_row, int(lengths[other[0]])
        raise ValueError(f"{where}, row {row}: a vector of length {length}, the first has {lengths[0]}")
    return int(lengths[0])


def _numbers(path: Path, file: Rows, names: list[str]) -> np.ndarray:
    """Columns of numbers as one matrix (n, number of columns), float32."""
    rows = file.n_rows
    check_expanded(path, 4 * rows * len(names))
    matrix = np.empty((rows, len(names)), dtype=np.float32)
    for place, name in enumerate(names):
        read = 0
        for start, column in _batches(file, name):
            if column.null_count:
                raise ValueError(
                    f"column {name}, row {start + 1 + _first_null(column)}: an empty cell; fill or remove this row"
                )
            with np.errstate(over="ignore"):  # an overflow is reported with its row
                matrix[start : start + len(column), place] = column.to_numpy(zero_copy_only=False)
            read = start + len(column)
        if read != rows:
            raise ValueError(f"column {name}: {read} values in {rows} rows")
    return matrix
