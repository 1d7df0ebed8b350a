"""Hoplite databases of SQLite whose embeddings are in the table itself: those of Perch before its index of usearch.

Read are `hoplite_sources` (id, dataset, source) and `hoplite_embeddings` (id, embedding, source_idx, offsets), where
embedding and offsets hold little-endian float16 or float32, and the key `model_config` of `hoplite_metadata`. Later
databases keep their vectors in a file usearch.index beside, which only that library reads.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from featstore.errors import DataError
from featstore.exchange.kinds.columns import clips_of
from featstore.exchange.kinds.content import Content, Source, checked_matrix, or_error
from featstore.layouts.manifest import MAX_SECONDS, checked_window

COLUMNS = {
    "hoplite_sources": {"id", "dataset", "source"},
    "hoplite_embeddings": {"id", "embedding", "source_idx", "offsets"},
}
EXPECTED = "expected " + " and ".join(f"{table} ({', '.join(sorted(names))})" for table, names in COLUMNS.items())
IN_AN_INDEX = (
    "its vectors are in usearch.index, which only that library reads; write a table of them: BirdNET-Analyzer does "
    "with --file_output FILE.csv, Perch-Hoplite with db.get_embeddings_batch and db.get_window"
)
MAX_BLOB = 1 << 22
STEPS = 100_000
"""Steps of SQLite between two looks at how far it is."""

TYPES = {"float16": "<f2", "float32": "<f4"}

_Row = tuple[bytes, Any, Any]
"""Vector, offsets, and the number of the source."""


class _Model(NamedTuple):
    """What the metadata say of the model: numbers of a vector, and the length of a window; None where they lack it."""

    dim: int | None
    window_s: float | None


def read_hoplite(source: Source) -> Content:
    """Embeddings of a database, opened read-only. A key names the type of the numbers, where the database does not."""
    for log in ("-wal", "-journal"):
        beside = source.path.with_name(source.path.name + log)
        if beside.exists() and beside.stat().st_size:
            raise DataError(
                f"{beside} holds changes that are not in {source.path.name} yet; close the program that uses it"
            )
    address = f"file:{quote(str(source.path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            _confine(database, source.path)
            return _read(source, database)
    except (sqlite3.Error, OverflowError, ValueError) as error:
        raise DataError(f"{source.path}: no SQLite database, or a damaged one ({error})") from error


def _confine(database: sqlite3.Connection, path: Path) -> None:
    """Limits for a database of strangers: nothing of its schema is run, and no query takes for ever."""
    left = [100 + path.stat().st_size // STEPS]

    def is_too_long() -> bool:
        left[0] -= 1
        return left[0] < 0

    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BLOB)
    database.set_progress_handler(is_too_long, STEPS)
    for pragma in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0"):
        database.execute(f"PRAGMA {pragma}")


def _read(source: Source, database: sqlite3.Connection) -> Content:
    _check_tables(source, database)
    model = _model(database)
    (rows,) = database.execute("SELECT count(*) FROM hoplite_embeddings").fetchone()
    if rows > source.path.stat().st_size:
        raise DataError(f"{source.path}: {rows:,} rows in a smaller file")
    if not rows:
        raise DataError(f"{source.path}: hoplite_embeddings is empty")
    sources = {row[0]: row[1:] for row in database.execute("SELECT id, dataset, source FROM hoplite_sources")}
    found = database.execute("SELECT embedding, offsets, source_idx FROM hoplite_embeddings ORDER BY id").fetchall()
    lost = next((row[2] for row in found if row[2] not in sources), None)
    if lost is not None:
        raise DataError(f"{source.path}: an embedding names the source {lost!r:.80}, which hoplite_sources lacks")
    kind = _type(source, model, found[0][0])
    matrix = checked_matrix(
        np.stack([_vector(source, kind, row[0]) for row in _equal(source, found)]), str(source.path)
    )
    paths = [_path(source, _times(source, kind, model, row), sources[row[2]][1]) for row in found]
    columns = {"path": paths, "attr_dataset": [str(sources[row[2]][0]) for row in found]}
    return Content(matrix, or_error(lambda: clips_of(source, columns, len(paths))))


def _check_tables(source: Source, database: sqlite3.Connection) -> None:
    """DataError unless both tables are plain ones with the columns that are read."""
    kinds = {
        name: (kind, root) for name, kind, root in database.execute("SELECT name, type, rootpage FROM sqlite_master")
    }
    if "windows" in kinds and "recordings" in kinds:
        raise DataError(f"{source.path}: a Hoplite database of version 1 or later: {IN_AN_INDEX}")
    for table, needed in COLUMNS.items():
        kind, root = kinds.get(table, ("", 0))
        if kind != "table" or not root:
            has = ", ".join(sorted(map(str, kinds))[:20]) or "none"
            raise DataError(f"{source.path}: no table {table}: {EXPECTED}; it has {has}")
        columns = {row[1]: row[6] for row in database.execute(f"PRAGMA table_xinfo({table})")}
        if table == "hoplite_embeddings" and "embedding" not in columns and "offsets" in columns:
            raise DataError(f"{source.path}: {table} has no column embedding: {IN_AN_INDEX}")
        if not needed <= set(columns) or any(columns[name] for name in needed):
            raise DataError(f"{source.path}: {table} has the columns {', '.join(columns)}: {EXPECTED}, none generated")


def _model(database: sqlite3.Connection) -> _Model:
    try:
        row = database.execute("SELECT data FROM hoplite_metadata WHERE key = 'model_config'").fetchone()
        stated: Any = json.loads(row[0]) if row else {}
        dim, window_s = stated.get("embedding_dim"), (stated.get("model_config") or {}).get("window_size_s")
    except (sqlite3.OperationalError, ValueError, TypeError, AttributeError, RecursionError):
        return _Model(None, None)
    length = float(window_s) if isinstance(window_s, int | float) and 0 < window_s < MAX_SECONDS else None
    return _Model(dim if isinstance(dim, int) and dim > 0 else None, length)


def _type(source: Source, model: _Model, blob: Any) -> str:
    """The NumPy type of the numbers: by their stated number, or as the key names it."""
    if source.key is not None:
        if source.key not in TYPES:
            raise DataError(f"{source.path}: --key of a Hoplite database is {' or '.join(TYPES)}, got {source.key!r}")
        return TYPES[source.key]
    size = len(blob) if isinstance(blob, bytes) else 0
    kind = next((kind for kind in TYPES.values() if model.dim and size == model.dim * np.dtype(kind).itemsize), None)
    if kind is None:
        raise DataError(
            f"{source.path}: vectors of {size} bytes, and model_config of hoplite_metadata states "
            f"{model.dim or 'no'} numbers; name their type: --key float16 (the default of Hoplite) or --key float32"
        )
    return kind


def _equal(source: Source, rows: list[_Row]) -> Iterator[_Row]:
    for row in rows:
        if not isinstance(row[0], bytes) or len(row[0]) != len(rows[0][0]):
            raise DataError(f"{source.path}: embeddings of different sizes, or none; expected blobs of one length")
        yield row


def _vector(source: Source, kind: str, blob: bytes) -> np.ndarray:
    if len(blob) % np.dtype(kind).itemsize:
        raise DataError(f"{source.path}: vectors of {len(blob)} bytes are no {np.dtype(kind).name}")
    return np.frombuffer(blob, dtype=kind)


def _times(source: Source, kind: str, model: _Model, row: _Row) -> tuple[float, float]:
    """A window: from its first offset to its second, or as long as a window of the model."""
    blob = row[1]
    offsets = _vector(source, kind, blob).tolist() if isinstance(blob, bytes) else []
    if len(offsets) not in (1, 2) or not 0 <= min(offsets) <= max(offsets) < MAX_SECONDS:
        raise DataError(f"{source.path}: expected one or two offsets in seconds, got {offsets[:4]}")
    if len(offsets) == 1 and model.window_s is None:
        raise DataError(
            f"{source.path}: it states where windows start, and model_config of hoplite_metadata does not state their "
            "length (model_config.window_size_s); write the vectors with np.save and import them with --manifest"
        )
    return offsets[0], offsets[1] if len(offsets) > 1 else offsets[0] + (model.window_s or 0.0)


def _path(source: Source, times: tuple[float, float], name: Any) -> str:
    return checked_window(f"{source.path}: {name!r:.80}", str(name), *times)
