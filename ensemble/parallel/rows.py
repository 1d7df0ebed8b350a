"""Embeddings that every process of a run reads in place: memory is shared, not copied."""

import mmap
import os
import tempfile
from pathlib import Path
from weakref import finalize

import numpy as np

from featstore.errors import ResourceError, reason_of


class SharedRows:
    """A float32 array of a `shape`, filled by its owner through `array`; a pickled one maps the same memory.

    On Linux it is anonymous memory, which the system frees with its last user, even if that is killed; elsewhere it is
    a temporary file. The owner must keep the object while others unpickle it.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Reserve memory; ResourceError where the system has none."""
        self.shape = shape
        size = max(4 * int(np.prod(shape)), 1)
        try:
            if hasattr(os, "memfd_create"):
                number = os.memfd_create("rows")
                self._path = f"/proc/{os.getpid()}/fd/{number}"
                finalize(self, os.close, number)
            else:
                file = tempfile.NamedTemporaryFile(prefix="rows-")  # noqa: SIM115 - closed with the object
                number, self._path = file.fileno(), file.name
                finalize(self, file.close)
            os.ftruncate(number, size)
            self._memory = mmap.mmap(number, size)
        except OSError as error:
            raise ResourceError(
                f"cannot reserve {size:,} bytes of memory for embeddings: {reason_of(error)}"
            ) from error

    def __getstate__(self) -> tuple[str, tuple[int, ...]]:
        """What another process needs to map the memory."""
        return self._path, self.shape

    def __setstate__(self, state: tuple[str, tuple[int, ...]]) -> None:
        """Map the memory of the owner for reading."""
        self._path, self.shape = state
        with Path(self._path).open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def array(self) -> np.ndarray:
        """The values (shape), read-only in all processes but the owner's."""
        count = int(np.prod(self.shape))
        return np.frombuffer(self._memory, dtype=np.float32, count=count).reshape(self.shape)
