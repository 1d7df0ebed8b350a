"""Files of named arrays: which one holds the embeddings, and which ones describe its rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from featstore.clip import recording_of
from featstore.errors import DataError
from featstore.exchange.kinds.columns import clips_of, describing, note_on, texts
from featstore.exchange.kinds.content import Content, Source, checked_matrix, or_error
from featstore.layouts.tree import is_audio
from featstore.table import ClipTable
from featstore.terminal.shown import counted

SHOWN = 20
"""Arrays that a message lists."""


class Named(NamedTuple):
    """An array that is read on demand. kind: the letter of numpy (`f`, `i`, `u`, `U`, `S`), "" for other types."""

    shape: tuple[int, ...]
    kind: str
    read: Callable[[], np.ndarray]


def content_of(source: Source, arrays: Mapping[str, Named]) -> Content:
    """The embeddings among named arrays: the array `source.key`, or the only one of two or three dimensions.

    One-dimensional arrays of as many values, in the same folder of the file, describe the rows. Where all arrays are
    vectors of equal length whose names are those of recordings, each is a row. DataError says what is missing.
    """
    vectors = _vectors(source, arrays)
    if vectors:
        matrix = np.stack([arrays[name].read() for name in vectors])
        clips = or_error(lambda: clips_of(source, {"path": vectors}, len(matrix)))
        return Content(checked_matrix(matrix, str(source.path)), clips)
    name = _choose(source, arrays)
    matrix = pick(source, arrays, name)
    beside = _beside(arrays, name)
    clips = or_error(lambda: _described(source, beside, len(matrix)))
    note = note_on(source, f"{name!r} {list(matrix.shape)}", (other for other in beside if other != name))
    return Content(matrix, clips, notes=(note,) if len(arrays) > 1 else ())


def pick(source: Source, arrays: Mapping[str, Named], name: str) -> np.ndarray:
    """The array of a name; DataError unless it holds numbers (n, d) or (n, views, d)."""
    if name not in arrays:
        raise DataError(f"{source.path}: no array {name!r}; choose from {_listed(list(arrays)) or '(none)'}")
    return checked_matrix(arrays[name].read(), f"{source.path}: {name}")


def _choose(source: Source, arrays: Mapping[str, Named]) -> str:
    if source.key is not None:
        return source.key
    found = [name for name, array in arrays.items() if array.kind in ("f", "i", "u") and len(array.shape) in (2, 3)]
    if len(found) == 1 or len(arrays) == 1:
        return (found or list(arrays))[0]
    if not found:
        shapes = [f"{name} {list(array.shape)}{_kind_text(array)}" for name, array in arrays.items()]
        raise DataError(
            f"{source.path}: expected one array of numbers of shape (n, d) or (n, views, d), got "
            f"{_listed(shapes) or 'none'}"
        )
    raise DataError(f"{source.path}: arrays {_listed(found)}; name the one with the embeddings (--key)")


def _kind_text(array: Named) -> str:
    return "" if array.kind in tuple("fiu") else " of text" if array.kind in tuple("US") else " of other values"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _beside(arrays: Mapping[str, Named], chosen: str) -> dict[str, Named]:
    """The one-dimensional arrays in the folder of the chosen one, by their names in it."""
    folder, slash, _ = chosen.rpartition("/")
    prefix = folder + slash
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix) and len(array.shape) == 1
    }


def _described(source: Source, beside: Mapping[str, Named], n_rows: int) -> ClipTable:
    readable = {name: array for name, array in beside.items() if array.kind}
    try:
        wanted = set(describing(readable).values())
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error
    return clips_of(
        source, {name: texts(array.read()) if name in wanted else () for name, array in readable.items()}, n_rows
    )


def _vectors(source: Source, arrays: Mapping[str, Named]) -> list[str]:
    """The names of all arrays, where each is one vector and is named like a recording; else none."""
    if source.key is not None or not arrays or not all(is_audio(recording_of(name.split("::")[0])) for name in arrays):
        return []
    lengths = {array.shape for array in arrays.values()}
    if len(lengths) > 1 or any(array.kind not in ("f", "i", "u") for array in arrays.values()):
        shapes = [f"{name} {list(array.shape)}" for name, array in arrays.items()]
        raise DataError(
            f"{source.path}: {counted(len(arrays), 'array')} with the names of recordings, expected vectors of one "
            f"length, got {_listed(shapes)}"
        )
    return list(arrays) if len(next(iter(lengths))) in (1, 2) else []
