"""A model file: the arrays of a fitted recipe and a JSON object, see `featstore.disk.arrays`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from featstore.disk.arrays import Kind, read_arrays, write_arrays
from featstore.disk.files import TEMPORARY_SUFFIX
from featstore.errors import StoreError

MODEL = Kind(
    format="featstore-model",
    version=1,
    noun="model",
    content="a fitted model",
    maker="`detect fit STORE -o MODEL`",
    cure="copy it again, or fit it again with `detect fit`",
)


def write_model(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write or replace a model file, or the one that a link names, whole or not at all.

    `meta` is JSON, without format and version.
    """
    write_arrays(path, MODEL, meta, arrays)


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON object and the arrays of a model file, read-only; raises what `read_arrays` raises."""
    return read_arrays(path, MODEL)


@contextmanager
def one_update(path: Path) -> Iterator[None]:
    """Allow one update of a model file at a time on this host; temporary files of killed updates are removed.

    StoreError where another process updates it. A reader needs no lock. Without flock in the system, nothing is locked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = path.resolve()
    if not path.is_file():
        yield  # the reader reports a missing file
        return
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            current = False
        if not current:
            raise StoreError(f"{path} is being updated by another process; try again when that has ended")
        for leftover in path.parent.glob(f"{escape(path.name)}.*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        yield
