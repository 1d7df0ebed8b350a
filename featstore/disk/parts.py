"""Cut rows into shards that are not too large."""

from dataclasses import replace
from math import prod

import numpy as np

from featstore.disk.shard import ShardData

MAX_ROWS = 65536
MAX_BYTES = 1 << 27
"""Limits of a part; far below that of a shard, because a reader holds a whole shard in memory."""


def parts(data: ShardData) -> list[ShardData]:
    """`data` as shards in the same order, each of at most MAX_ROWS rows and about MAX_BYTES bytes.

    The first one has all rejections. A text counts as much as the longest one of its column: it is stored as wide.
    """
    row = prod(data.info.shape) * np.dtype(data.info.dtype).itemsize
    row += sum(column.dtype.itemsize for column in (*data.clips.columns.values(), *data.facts.values()))
    step = max(1, min(MAX_ROWS, MAX_BYTES // row))
    return [
        replace(
            data,
            clips=data.clips[start : start + step],
            matrix=data.matrix[start : start + step],
            facts={name: column[start : start + step] for name, column in data.facts.items()},
            rejected=() if start else data.rejected,
        )
        for start in range(0, len(data.clips) or min(1, len(data.rejected)), step)
    ]
