"""A model file: one safetensors file whose metadata is a JSON object, with a checksum over every byte.

The checksum is the SHA-256 of the whole file in which its own 64 digits are zeros. It detects damage, not forgery, so
every value is checked again where it is used, and nothing in a file is run.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from featstore.disk.files import TEMPORARY_SUFFIX, read_part, read_regular, write_checked
from featstore.errors import DataError, StoreError, reason_of

FORMAT, VERSION = "featstore-model", 1
MAX_BYTES = 1 << 36
MAX_HEADER_BYTES = 100_000_000
"""The limit of safetensors."""

DTYPES = {"F64", "F32", "F16", "I64", "I32", "U8", "BOOL"}
KEY = "featstore"
"""Key of the JSON text in the metadata of the safetensors header."""

_CHECKSUM = re.compile(rb"checksum=([0-9a-f]{64})")
_ZEROS = b"checksum=" + b"0" * 64


def write_model(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write or replace a model file, or the one that a link names, whole or not at all.

    `meta` is JSON, without format and version.
    """
    from safetensors.numpy import save

    text = json.dumps({"format": FORMAT, "version": VERSION, **meta}, sort_keys=True, allow_nan=False)
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = bytearray(save(contiguous, metadata={KEY: text, "checksum": _ZEROS.decode()}))
    place = data.index(_ZEROS, 8) + len("checksum=")
    data[place : place + 64] = hashlib.sha256(data).hexdigest().encode()
    write_checked(path.resolve(), bytes(data))


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


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON object and the arrays of a model file, read-only.

    DataError for a file that is no model, damaged, or of another version; no number in it makes an allocation larger
    than the file. A link is followed, because the user names it.
    """
    if not path.is_file():
        what = "it is no regular file" if path.exists() else "no such file"
        raise DataError(f"{path}: {what}; `detect fit STORE -o MODEL` makes a model")
    try:
        real = path.resolve()
        _refuse_other(path, _meta(_header(_start(real))))
        data = read_regular(real, MAX_BYTES)
    except (StoreError, OSError) as error:
        raise DataError(f"{path}: {reason_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no model file: {error}; `detect fit STORE -o MODEL` makes one") from error
    try:
        _check_sum(data)
        header = _header(data)
        return _meta(header), _arrays(data, header)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; copy it again, or fit it again with `detect fit`") from error


def _refuse_other(path: Path, meta: Mapping[str, Any]) -> None:
    if meta.get("version") != VERSION:
        raise DataError(
            f"{path} is a model of version {meta.get('version')!r:.20}, this program reads version {VERSION}; fit it "
            "again with `detect fit`, or use the program that made it"
        )


def _start(path: Path) -> bytes:
    """The bytes up to the end of the header; ValueError where the file cannot be one of safetensors."""
    start = read_part(path, 0, 9)
    size = int.from_bytes(start[:8], "little")
    if not 2 <= size <= MAX_HEADER_BYTES or start[8:] != b"{":
        raise ValueError("it does not begin as a safetensors file does")
    if 8 + size > path.stat().st_size:
        raise ValueError("it ends within its header")
    return read_part(path, 0, 8 + size)


def _header(data: bytes) -> dict[str, Any]:
    """The header of a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 + size:
        raise ValueError("it ends within its header")
    header = json.loads(data[8 : 8 + size])
    if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
        raise ValueError("its header is no list of arrays")
    return header


def _meta(header: Mapping[str, Any]) -> dict[str, Any]:
    text = header.get("__metadata__", {}).get(KEY)
    meta = json.loads(text) if isinstance(text, str) else None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError("its metadata does not name a fitted model")
    return meta


def _check_sum(data: bytes) -> None:
    """ValueError unless every byte is as it was written."""
    end = 8 + int.from_bytes(data[:8], "little")
    marks = list(_CHECKSUM.finditer(data, 8, end))
    if len(marks) != 1:
        raise ValueError("its checksum is missing")
    digest = hashlib.sha256(data[: marks[0].start()] + _ZEROS)
    digest.update(memoryview(data)[marks[0].end() :])
    if digest.hexdigest().encode() != marks[0][1]:
        raise ValueError("its checksum does not match its content")


def _arrays(data: bytes, header: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays, whose places and sizes safetensors checks; ValueError where they do not fit the file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    for name, entry in header.items():
        if name != "__metadata__" and str(entry.get("dtype")) not in DTYPES:
            raise ValueError(f"array {name!r:.80} is of type {entry.get('dtype')!r:.20}")
    try:
        arrays: dict[str, np.ndarray] = load(data)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
