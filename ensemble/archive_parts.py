"""Results of an archive run: one Parquet file per unit, whole or not at all, and the strangest clips of all of them."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ensemble.archive_rows import Unit
from featstore.errors import RequestError
from featstore.files import TEMPORARY_SUFFIX, explained, sync_directory

if TYPE_CHECKING:
    import pyarrow

UNIT = b"featstore_unit"
"""Key of a file's metadata under which the id of its unit stands."""

UNSCORED = "no bank"
"""Reason of a clip whose part has no bank, or one too small."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Results of m clips: text columns as bytes, scores and percentiles, and distances and keys of neighbours (m, k).

    NaN where a clip's part has no bank.
    """

    keys: np.ndarray
    machine: np.ndarray
    section: np.ndarray
    score: np.ndarray
    percentile: np.ndarray
    distance: np.ndarray
    neighbour: np.ndarray


def parquet() -> Any:
    """pyarrow's Parquet module; RequestError with the cure where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise RequestError("results are Parquet files, which need pyarrow: pip install 'featstore[parquet]'") from error
    return pyarrow.parquet


def write_part(folder: Path, unit: Unit, scored: Scored) -> None:
    """Write a unit's results durably; ResourceError where the disk is full, and then no file is left."""
    pq = parquet()
    table = _table(scored).replace_schema_metadata({UNIT: unit.id.encode()})
    path = folder / unit.file
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with explained(str(path), table.nbytes, folder):
            with temporary.open("xb") as file:
                pq.write_table(table, file, compression="zstd", use_dictionary=_REPEATED)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_directory(folder)
    finally:
        with suppress(OSError):
            temporary.unlink()


def is_done(folder: Path, unit: Unit) -> bool:
    """Whether the unit's file is there, readable, and of this unit."""
    try:
        found = parquet().read_metadata(folder / unit.file)
    except (OSError, ValueError):  # pyarrow's own errors are of these kinds
        return False
    return bool((found.metadata or {}).get(UNIT) == unit.id.encode())


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
    """Bytes as strings; bytes that are no UTF-8 with backslashes."""
    import pyarrow as pa

    try:
        return pa.array(values).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([value.decode("utf-8", "backslashreplace") for value in values.tolist()])


@dataclass
class Top:
    """The `n` clips of the highest percentile so far, ties by key, as rows of a table; and what has been counted."""

    n: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    clips: int = 0
    unscored: dict[str, int] = field(default_factory=dict)

    def take(self, path: Path) -> None:
        """Take in a finished file of results."""
        import pyarrow as pa
        import pyarrow.compute as pc

        pq = parquet()
        light = pq.read_table(path, columns=["percentile", "machine", "section"])
        self.clips += len(light)
        percentile = light.column("percentile")
        if percentile.null_count:
            lost = light.filter(pc.is_null(percentile)).group_by(["machine", "section"]).aggregate([([], "count_all")])
            for row in lost.to_pylist():
                name = f"{row['machine']} {row['section']}".strip()
                self.unscored[name] = self.unscored.get(name, 0) + row["count_all"]
        values = percentile.to_numpy(zero_copy_only=False)
        values = np.where(np.isnan(values), -1.0, values)
        least = self.rows[-1]["percentile"] if len(self.rows) >= self.n else -0.5
        if len(values) > self.n:
            least = max(least, float(np.partition(values, -self.n)[-self.n]))
        at = np.flatnonzero((values >= least) & (values >= 0))
        if len(at):
            found = pq.read_table(path).take(pa.array(at)).to_pylist()
            self.rows = sorted(self.rows + found, key=lambda row: (-row["percentile"], row["clip"]))[: self.n]


def remove_stale(folder: Path, units: Sequence[Unit]) -> int:
    """Remove results of units that are no longer part of the run, and what a killed run left; how many files."""
    current = {unit.file for unit in units}
    stale = [path for path in folder.glob("part-*-*.parquet") if path.name not in current]
    stale += list(folder.glob(f"part-*{TEMPORARY_SUFFIX}"))
    for path in stale:
        path.unlink()
    return len(stale)
