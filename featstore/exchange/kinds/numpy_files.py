"""NumPy files: .npy (memory-mapped) and .npz, compressed or not, without pickled objects."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from featstore.errors import DataError, reason_of
from featstore.exchange.kinds import asdkit, own
from featstore.exchange.kinds.columns import clips_of
from featstore.exchange.kinds.content import Content, Source, check_expanded, checked_matrix, or_error
from featstore.exchange.kinds.named import Named, content_of

DAMAGED = (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile)
"""What zipfile and numpy raise for damaged, encrypted and unknown content."""

DESCRIBED: tuple[tuple[set[str], Callable[[Source, Mapping[str, Named]], Content]], ...] = (
    (own.NPZ_ARRAYS, own.npz_content),
    (asdkit.NPZ_ARRAYS, asdkit.npz_content),
)
"""The arrays that identify a self-describing .npz, and its reader."""


def read_npy(source: Source) -> Content:
    """The array of a .npy file, memory-mapped; it does not describe its rows."""
    try:
        with source.path.open("rb") as file:
            shape, dtype = _header(file)
            _check_size(source.path.name, shape, dtype, source.path.stat().st_size - file.tell())
        matrix = np.lib.format.open_memmap(source.path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{source.path}: {_reason(error)}") from error
    return Content(checked_matrix(matrix, str(source.path)), or_error(lambda: clips_of(source, {}, len(matrix))))


def read_npz(source: Source) -> Content:
    """The embeddings of a .npz file: an export of this program, an extract of ASDKit, or any named arrays.

    Only the arrays that are used are read; DataError for pickled ones and for impossible sizes.
    """
    try:
        with zipfile.ZipFile(source.path) as archive:
            arrays = _members(source.path, archive)
            read = next((read for needed, read in DESCRIBED if needed <= set(arrays)), content_of)
            return read(source, arrays)
    except zipfile.BadZipFile as error:
        message = f"no .npz file, or a damaged one; write one with numpy.savez ({error})"
        raise DataError(f"{source.path}: {message}") from error
    except DAMAGED as error:
        raise DataError(f"{source.path}: {_reason(error)}") from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, Named]:
    """Every array by name, from the headers alone."""
    members = archive.infolist()
    arrays = {member.filename.removesuffix(".npy"): _member(path, archive, member) for member in members}
    if len(arrays) < len(members):
        raise ValueError("two of its arrays have the same name")
    return arrays


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Named:
    with archive.open(member) as file:
        shape, dtype = _header(file)
        _check_size(member.filename, shape, dtype, member.file_size - file.tell())
    check_expanded(path, member.file_size)
    return Named(shape, "O" if dtype.hasobject else dtype.kind, partial(_read_member, archive, member))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type in the header of an array; ValueError for a damaged one."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except (SyntaxError, tokenize.TokenError, TypeError, RecursionError) as error:
        raise ValueError(f"its header is damaged ({error})") from error
    return tuple(shape), dtype


def _check_size(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], n_bytes: int) -> None:
    """ValueError unless an array has the bytes that its shape states; those of objects are pickled."""
    stated = math.prod(shape) * dtype.itemsize
    if stated != n_bytes and not dtype.hasobject:
        raise ValueError(f"{name} states {stated} bytes and has {n_bytes}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _reason(error: Exception) -> str:
    """What is wrong with an array file, and for pickled objects what to do."""
    if "Object arrays" in str(error) or "Python objects" in str(error):
        return (
            "pickled Python objects, which can run code, are never loaded; save plain arrays instead: "
            "np.savez(path, embed=np.asarray(embed, dtype='float32'), path=np.asarray(path, dtype=str))"
        )
    return reason_of(error)
