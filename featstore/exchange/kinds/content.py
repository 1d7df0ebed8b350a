"""What a reader returns: the numbers of a file, how to describe its rows, and what it states about the embedder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore.disk.shard import EmbeddingInfo
from featstore.errors import DataError
from featstore.table import ClipTable

FREE_BYTES = 1 << 30
"""A file may expand to this many bytes, whatever its own size."""

MAX_RATIO = 100
"""Above FREE_BYTES: how many times larger than its file the content may be. Embeddings hardly compress."""


@dataclass(frozen=True)
class Source:
    """A file to read.

    key: name of the array, column or data set with the embeddings; None where the file has one only. root: the folder
    that the paths in the file are relative to, which is cut off absolute ones. base: the folder whose files are read,
    where a folder was named.
    """

    path: Path
    key: str | None
    root: Path
    base: Path


@dataclass(frozen=True)
class Stated:
    """What an export of this program states: its embedding, and the checksum of its rows."""

    info: EmbeddingInfo
    rows_sha256: str


@dataclass(frozen=True)
class Content:
    """Embeddings (n, d) or (n, views, d) of a file.

    clips: the clip of each row, or the error that says why the file does not describe its rows. views, channel: as of
    `EmbeddingInfo`. stated: of an export of this program. notes: for the user.
    """

    matrix: np.ndarray
    clips: ClipTable | DataError
    views: tuple[str, ...] = ()
    channel: str = ""
    stated: Stated | None = None
    notes: tuple[str, ...] = ()


def or_error(make: Callable[[], ClipTable]) -> ClipTable | DataError:
    """The clips, or the error instead: it does not matter where a manifest describes the rows."""
    try:
        return make()
    except DataError as error:
        return error


def checked_matrix(matrix: np.ndarray, where: str) -> np.ndarray:
    """`matrix` itself; DataError unless it holds numbers (n, d) or (n, views, d)."""
    if matrix.dtype.kind not in "fiu" or matrix.ndim not in (2, 3) or 0 in matrix.shape:
        got = f"{matrix.dtype} of shape {matrix.shape}"
        raise DataError(f"{where}: expected numbers of shape (n, d) or (n, views, d), got {got}")
    return matrix


def check_expanded(path: Path, declared: int) -> None:
    """DataError where a file declares far more bytes than it can hold, before any of them is allocated."""
    size = path.stat().st_size
    if declared > max(FREE_BYTES, MAX_RATIO * size):
        raise DataError(
            f"{path}: declares {declared:,} bytes in a file of {size:,}; more than {MAX_RATIO} times its size is not "
            "read, because embeddings hardly compress; save the array with np.save"
        )
