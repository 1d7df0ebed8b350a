"""Results of an archive run: one Parquet file per unit, whole or not at all, and the most anomalous clips of all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ensemble.archive.rows import Unit
from featstore.disk.files import TEMPORARY_SUFFIX, explained, replacing
from featstore.disk.lock import StoreLock
from featstore.errors import RequestError

if TYPE_CHECKING:
    import pyarrow

UNIT = b"featstore_unit"
"""Metadata key of a result file; the value is the id of its unit."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Results of m clips: text columns as bytes, scores, percentiles, and distances and keys of neighbours (m, k).

    Numbers are NaN where a clip has no bank of more than k rows.
    """

    keys: np.ndarray
    machine: np.ndarray
    section: np.ndarray
    score: np.ndarray
    percentile: np.ndarray
    distance: np.ndarray
    neighbour: np.ndarray

    def rows(self, at: np.ndarray) -> "Scored":
        """The results of some of the clips."""
        return Scored(*(getattr(self, column.name)[at] for column in fields(self)))


def parquet() -> Any:
    """pyarrow's Parquet module; RequestError says how to install it where it is missing."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise RequestError("results are Parquet files, which need pyarrow: pip install 'featstore[parquet]'") from error
    return pyarrow.parquet


def write_part(folder: Path, unit: Unit, scored: Scored) -> None:
    """Write a unit's results durably, whole or not at all; ResourceError where the disk is full."""
    pq = parquet()
    table = _table(scored).replace_schema_metadata({UNIT: unit.id.encode()})
    path = folder / unit.file
    with explained(str(path), table.nbytes, folder), replacing(path) as part, part.open("xb") as file:
        pq.write_table(table, file, compression="lz4", use_dictionary=_REPEATED, write_page_checksum=True)


def is_done(folder: Path, unit: Unit) -> bool:
    """Whether the unit's file exists, belongs to this unit, and has no damaged page."""
    try:
        with parquet().ParquetFile(folder / unit.file, page_checksum_verification=True) as file:
            if (file.schema_arrow.metadata or {}).get(UNIT) != unit.id.encode():
                return False
            return bool(sum(len(batch) for batch in file.iter_batches()) == file.metadata.num_rows)
    except (OSError, ValueError):  # pyarrow's own errors are of these kinds
        return False


_REPEATED = ["machine", "section"]


def _table(scored: Scored) -> "pyarrow.Table":
    import pyarrow as pa

    columns: dict[str, Any] = {
        "clip": _texts(scored.keys),
        "machine": _texts(scored.machine).dictionary_encode(),
        "section": _texts(scored.section).dictionary_encode(),
        "score": pa.array(scored.score, mask=np.isnan(scored.score)),
        "percentile": pa.array(scored.percentile, mask=np.isnan(scored.percentile)),
    }
    for i in range(scored.distance.shape[1]):
        distance = scored.distance[:, i]
        columns[f"neighbour_{i + 1}"] = _texts(scored.neighbour[:, i])
        columns[f"distance_{i + 1}"] = pa.array(distance, mask=np.isnan(distance))
    return pa.table(columns)


def _texts(values: np.ndarray) -> "pyarrow.Array":
    """Bytes as strings; bytes that are not UTF-8 are written as \\xff."""
    import pyarrow as pa

    try:
        return pa.array(values).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([value.decode("utf-8", "backslashreplace") for value in values.tolist()])


@dataclass
class Top:
    """Running top-n: the `n` clips with the highest percentile so far, ties by key, as rows of a table.

    clips: how many were read. unscored: how many without a score, by machine and section.
    """

    n: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    clips: int = 0
    unscored: dict[str, int] = field(default_factory=dict)

    def take(self, path: Path, scored: Scored | None = None) -> None:
        """Add a finished result file; `scored` is its content where this is still in memory."""
        percentile = _percentiles(path) if scored is None else scored.percentile
        self.clips += len(percentile)
        unscored = np.isnan(percentile)
        if unscored.any():
            for section, count in _counted(path, scored, np.flatnonzero(unscored)).items():
                name = " ".join(section).strip()
                self.unscored[name] = self.unscored.get(name, 0) + count
        values = np.where(unscored, -1.0, percentile)
        least = self.rows[-1]["percentile"] if len(self.rows) >= max(self.n, 1) else 0.0
        if len(values) > self.n > 0:
            least = max(least, float(np.partition(values, -self.n)[-self.n]))
        at = np.flatnonzero(values >= least)
        if len(at) and self.n:
            rows = self.rows + _rows(path, scored, at)
            self.rows = sorted(rows, key=lambda row: (-row["percentile"], row["clip"]))[: self.n]


def _percentiles(path: Path) -> np.ndarray:
    column = parquet().read_table(path, columns=["percentile"]).column("percentile")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _rows(path: Path, scored: Scored | None, at: np.ndarray) -> list[dict[str, Any]]:
    """Some rows of a result file, from its content where this is in memory."""
    table = parquet().read_table(path).take(at) if scored is None else _table(scored.rows(at))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _counted(path: Path, scored: Scored | None, at: np.ndarray) -> Counter[tuple[str, str]]:
    """Number of the rows `at` by machine and section.

    It reads two columns only, because these rows may be all of a large archive.
    """
    if scored is None:
        table = parquet().read_table(path, columns=["machine", "section"]).take(at)
        columns = [table.column(name).to_pylist() for name in ("machine", "section")]
    else:
        columns = [_texts(column[at]).to_pylist() for column in (scored.machine, scored.section)]
    return Counter(zip(*columns, strict=True))


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Lock a folder of results for this process; StoreError while another process holds the lock."""
    lock = StoreLock(folder)
    try:
        yield
    finally:
        lock.release()


def remove_stale(folder: Path, units: Sequence[Unit]) -> int:
    """Remove results of units that are no longer in the run and temporary files of a killed run; returns how many."""
    current = {unit.file for unit in units}
    stale = [path for path in folder.glob("part-*-*.parquet") if path.name not in current]
    stale += list(folder.glob(f"part-*{TEMPORARY_SUFFIX}"))
    for path in stale:
        path.unlink()
    return len(stale)
