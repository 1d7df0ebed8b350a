"""A file of named arrays: one safetensors file whose metadata is a JSON object, with a checksum over every byte.

The checksum is the SHA-256 of the whole file in which its own 64 digits are zeros. It detects damage, not forgery, so
every value is checked again where it is used, and nothing in a file is run.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featstore.clip import DOMAINS, LABELS, MAX_TEXT_BYTES, SPLITS
from featstore.disk.files import read_part, read_regular, write_checked
from featstore.errors import DataError, StoreError, reason_of
from featstore.table import COLUMNS, ClipTable

MAX_BYTES = 1 << 36
MAX_HEADER_BYTES = 100_000_000
"""The limit of safetensors."""

DTYPES = {"F64", "F32", "F16", "I64", "I32", "U8", "BOOL"}
KEY = "featstore"
"""Key of the JSON text in the metadata of the safetensors header."""

_CHECKSUM = re.compile(rb"checksum=([0-9a-f]{64})")
_ZEROS = b"checksum=" + b"0" * 64

CHOICES = {"split": SPLITS, "domain": DOMAINS, "label": LABELS}
"""The values of columns of a table that have few."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: the format and the version in its metadata, and how messages name it and what to do.

    noun: `model`. content: `a fitted model`. maker: the command that makes one. cure: what to do with a damaged one.
    """

    format: str
    version: int
    noun: str
    content: str
    maker: str
    cure: str


def write_arrays(path: Path, kind: Kind, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write or replace a file, or the one that a link names, whole or not at all.

    `meta` is JSON, without format and version.
    """
    from safetensors.numpy import save

    text = json.dumps({"format": kind.format, "version": kind.version, **meta}, sort_keys=True, allow_nan=False)
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = bytearray(save(contiguous, metadata={KEY: text, "checksum": _ZEROS.decode()}))
    place = data.index(_ZEROS, 8) + len("checksum=")
    data[place : place + 64] = hashlib.sha256(data).hexdigest().encode()
    write_checked(path.resolve(), bytes(data))


def read_arrays(path: Path, kind: Kind) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON object and the arrays of a file, read-only.

    DataError for a file of another kind, damaged, or of another version; no number in it makes an allocation larger
    than the file. A link is followed, because the user names it.
    """
    if not path.is_file():
        what = "it is no regular file" if path.exists() else "no such file"
        raise DataError(f"{path}: {what}; {kind.maker} makes a {kind.noun}")
    try:
        real = path.resolve()
        _refuse_other(path, kind, _meta(_header(_start(real)), kind))
        data = read_regular(real, MAX_BYTES)
    except (StoreError, OSError) as error:
        raise DataError(f"{path}: {reason_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no {kind.noun} file: {error}; {kind.maker} makes one") from error
    try:
        _check_sum(data)
        header = _header(data)
        return _meta(header, kind), _arrays(data, header)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; {kind.cure}") from error


def _refuse_other(path: Path, kind: Kind, meta: Mapping[str, Any]) -> None:
    if meta.get("version") != kind.version:
        raise DataError(
            f"{path} is a {kind.noun} of version {meta.get('version')!r:.20}, this program reads version "
            f"{kind.version}; {kind.cure}, or use the program that made it"
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


def _meta(header: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    text = header.get("__metadata__", {}).get(KEY)
    meta = json.loads(text) if isinstance(text, str) else None
    if not isinstance(meta, dict) or meta.get("format") != kind.format:
        raise ValueError(f"its metadata does not name {kind.content}")
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


def text_bytes(column: np.ndarray) -> np.ndarray:
    """Fixed-width texts (n,) as bytes (n, width)."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), column.dtype.itemsize)


def bytes_text(name: str, column: np.ndarray, rows: int) -> np.ndarray:
    """Inverse of `text_bytes`; ValueError for other than `rows` texts."""
    fits = column.dtype == np.uint8 and column.ndim == 2 and len(column) == rows
    if not fits or not 0 < column.shape[1] <= MAX_TEXT_BYTES:
        raise ValueError(f"the column {name} of its {rows} clips is {column.dtype} of shape {column.shape}")
    return np.ascontiguousarray(column).view(f"S{column.shape[1]}")[:, 0]


def table_arrays(clips: ClipTable, prefix: str) -> dict[str, np.ndarray]:
    """The columns of a table as arrays, named `prefix` and the column."""
    return {f"{prefix}{name}": text_bytes(clips.columns[name]) for name in COLUMNS}


def table_of(arrays: Mapping[str, np.ndarray], prefix: str) -> ClipTable:
    """Inverse of `table_arrays`; KeyError or ValueError for columns that are missing or hold unknown values."""
    rows = len(arrays[f"{prefix}path"])
    texts = {name: bytes_text(name, arrays[f"{prefix}{name}"], rows) for name in COLUMNS}
    for name, known in CHOICES.items():
        if not set(texts[name].tolist()) <= {value.encode() for value in known}:
            raise ValueError(f"the column {name} of its clips has unknown values")
    return ClipTable(texts)
