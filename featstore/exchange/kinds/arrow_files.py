"""Files of Arrow: Parquet, and the folders of Hugging Face that `datasets` saves (`Dataset.save_to_disk`)."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featstore.errors import DataError, reason_of
from featstore.exchange.kinds import own
from featstore.exchange.kinds.arrow_table import content_of_table
from featstore.exchange.kinds.content import Content, Source

BATCH_ROWS = 4096
MAX_STATE_BYTES = 1 << 20


def read_parquet(source: Source) -> Content:
    """The embeddings of a Parquet file: an export of this program, or any table with vectors.

    Vectors are a column of lists of numbers, all of one length (of lists of lists: views), or the columns PREFIX0,
    PREFIX1, ...; DataError says what is missing.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"{source.path}: Parquet needs pyarrow; install featstore[parquet], or give .npz") from error
    with _Reported(source.path), ParquetFile(source.path) as file:
        return content_of_table(source, _ParquetRows(file))


def read_dataset(source: Source) -> Content:
    """The embeddings of a folder of Hugging Face, by its state.json; its tables are as those of `read_parquet`."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise DataError(f"{source.path}: needs pyarrow; install featstore[parquet], or give .npz") from error
    with _Reported(source.path):
        paths = _files_of(source.path)
        for path in paths:
            _refuse_compressed(pa, path)
        return content_of_table(source, _StreamRows(pa, paths, own.note_beside(source.path.parent)))


class _Reported:
    """What pyarrow raises for damaged files becomes a DataError that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import pyarrow

        raised = (
            OSError,
            pyarrow.ArrowException,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        )
        if isinstance(error, (*raised, struct.error)) and not isinstance(error, DataError):
            raise DataError(f"{self.path}: {reason_of(error)}") from error


class _ParquetRows:
    """The table of a Parquet file."""

    note = ""  # among the metadata of the schema

    def __init__(self, file: Any) -> None:
        self._file = file
        self.schema, self.n_rows = file.schema_arrow, file.metadata.num_rows

    def read(self, columns: list[str]) -> Any:
        return self._file.read(columns=columns)

    def batches(self, name: str) -> Iterator[Any]:
        for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=[name]):
            yield batch.column(0)

    def count(self, name: str) -> int:
        file = self._file
        # A pass in small steps first: it refuses a damaged footer, where `column(i)` would end the process (pyarrow 26)
        file.scan_contents(columns=[name])
        leaves = [i for i in range(len(file.schema)) if f"{file.schema.column(i).path}.".startswith(f"{name}.")]
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        return sum(group.column(i).num_values for group in groups for i in leaves)


class _StreamRows:
    """The table in the Arrow streams of a data set, memory-mapped."""

    def __init__(self, pa: Any, paths: list[Path], note: str) -> None:
        self.note = note
        tables = [pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in paths]
        self._table = pa.concat_tables(tables)
        self._table.validate(full=True)  # offsets and lengths lie within the file
        self.schema, self.n_rows = self._table.schema, self._table.num_rows

    def read(self, columns: list[str]) -> Any:
        return self._table.select(columns)

    def batches(self, name: str) -> Iterator[Any]:
        for chunk in self._table[name].chunks:
            for start in range(0, len(chunk), BATCH_ROWS):
                yield chunk.slice(start, BATCH_ROWS)

    def count(self, name: str) -> int:
        return 0  # all of it is in the file


def _files_of(state: Path) -> list[Path]:
    """The files that a state.json names, which are in its folder."""
    if state.stat().st_size > MAX_STATE_BYTES:
        raise DataError(f"{state}: more than {MAX_STATE_BYTES:,} bytes; expected the state of a saved data set")
    stated = json.loads(state.read_text(encoding="utf-8"))
    names = [entry["filename"] for entry in stated["_data_files"]]
    for name in names:
        path = state.parent / str(name)
        if not isinstance(name, str) or path.name != name or path.is_symlink() or not path.is_file():
            raise DataError(f"{state}: expected the name of a file in its folder, got {name!r:.80}")
    if not names or stated.get("_indices_data_files"):
        raise DataError(f"{state}: expected all rows in files of the folder; save the data set again (save_to_disk)")
    return [state.parent / name for name in names]


def _refuse_compressed(pa: Any, path: Path) -> None:
    """DataError for compressed batches, which can expand to any size; `datasets` writes none."""
    for message in pa.ipc.MessageReader.open_stream(pa.memory_map(str(path))):
        if message.type == "record batch" and _has_compression(message.metadata.to_pybytes()):
            raise DataError(f"{path}: compressed; save the data set again (save_to_disk), or as Parquet (to_parquet)")


def _has_compression(metadata: bytes) -> bool:
    """Whether a message of Arrow (a flatbuffer) is a record batch with the field `compression`."""
    message = struct.unpack_from("<I", metadata, 0)[0]
    header = _field(metadata, message, 2)
    return bool(header) and bool(_field(metadata, header + struct.unpack_from("<I", metadata, header)[0], 3))


def _field(metadata: bytes, table: int, number: int) -> int:
    """Place of a field of a table; 0 where it is absent."""
    names = table - struct.unpack_from("<i", metadata, table)[0]
    size = struct.unpack_from("<H", metadata, names)[0]
    offset = struct.unpack_from("<H", metadata, names + 4 + 2 * number)[0] if size > 4 + 2 * number else 0
    return table + offset if offset else 0
