"""Rows of an embedding with their clips as Arrow tables, one block at a time."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from featstore.exchange.frames import unicode_texts
from featstore.reader import FeatureStore
from featstore.table import COLUMNS, decode

TIMES = ("start_s", "end_s")
"""Columns of the window of a row, in seconds; null for a whole recording."""


def schema_of(sizes: tuple[int, ...], metadata: Mapping[str, str] | None = None) -> Any:
    """The columns of a clip, TIMES, and `embedding`: lists of fixed size, nested by `sizes`, the outermost first."""
    import pyarrow as pa

    kind = pa.float32()
    for size in reversed(sizes):
        kind = pa.list_(kind, size)
    fields = [pa.field(column, pa.string()) for column in COLUMNS]
    fields += [pa.field(column, pa.float64()) for column in TIMES]
    return pa.schema([*fields, pa.field("embedding", kind)], metadata=metadata)


def tables(store: FeatureStore, name: str, schema: Any, n_rows: int) -> Iterator[Any]:
    r"""All rows of an embedding in order, `n_rows` at a time.

    Arrow text is UTF-8: bytes of file names that are not UTF-8 are written as \xNN.
    """
    import pyarrow as pa

    for clips, block in store.blocks(name, n_rows):
        texts = [pa.array(unicode_texts(decode(clips.columns[column])), pa.string()) for column in COLUMNS]
        times = [pa.array(column, from_pandas=True) for column in clips.windows().T]
        yield pa.table([*texts, *times, _lists(block, schema.field("embedding").type)], schema=schema)


def _lists(block: np.ndarray, kind: Any) -> Any:
    """A matrix as an array of lists of fixed size of the Arrow type `kind`."""
    import pyarrow as pa

    sizes = []
    while pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size)
        kind = kind.value_type
    lists = pa.array(block.reshape(-1))
    for size in reversed(sizes):
        lists = pa.FixedSizeListArray.from_arrays(lists, size)
    return lists
