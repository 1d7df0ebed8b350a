"""HDF5 files: one data set with the embeddings, and data sets of the same group that describe its rows.

A file can refer to other files, declare terabytes in a kilobyte, and ask for plugins. So nothing is followed but hard
links, and a data set is read only if all of it is in this file and its declared size fits the file.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from featstore.clip import MAX_TEXT_BYTES
from featstore.errors import DataError
from featstore.exchange.kinds.content import FREE_BYTES, Content, Source, check_expanded
from featstore.exchange.kinds.named import Named, content_of

MAX_OBJECTS = 10_000
"""Groups and data sets of a file; more are refused."""

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""Filters that h5py always has. Others are plugins, which are code."""


def read_hdf5(source: Source) -> Content:
    """The embeddings of an HDF5 file: the data set `source.key`, or the only one of two or three dimensions."""
    import h5py

    try:
        with h5py.File(source.path, "r") as file:
            arrays = {name: _named(source, name, dataset) for name, dataset in _datasets(source, file.id)}
            return content_of(replace(source, key=source.key.strip("/") if source.key else None), arrays)
    except DataError:
        raise
    except Exception as error:  # HDF5 reports damage as errors of many types, depending on the layer
        raise DataError(f"{source.path}: no HDF5 file, or a damaged one ({error})") from error


def _datasets(source: Source, file: Any) -> Iterator[tuple[str, Any]]:
    """Every data set that hard links lead to, by its path; DataError where the key leads through another link."""
    from h5py import h5d, h5g, h5l, h5o

    seen: set[int] = set()
    waiting = [("", h5g.open(file, b"/"))]
    while waiting:
        prefix, group = waiting.pop()
        for raw in list(group):
            name = prefix + raw.decode("utf-8", "replace")
            if group.links.get_info(raw).type != h5l.TYPE_HARD:
                _refuse_link(source, name)
                continue
            member = h5o.open(group, raw)
            address = h5o.get_info(member).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise DataError(
                    f"{source.path}: more than {MAX_OBJECTS:,} groups and data sets; save one array with np.save"
                )
            if isinstance(member, h5g.GroupID):
                waiting.append((f"{name}/", member))
            elif isinstance(member, h5d.DatasetID):
                yield name, member


def _refuse_link(source: Source, name: str) -> None:
    key = (source.key or "").strip("/")
    if key == name or key.startswith(f"{name}/"):
        raise DataError(
            f"{source.path}: {name} is a soft or external link, which is not followed; name the data set itself"
        )


def _named(source: Source, name: str, dataset: Any) -> Named:
    kind = _kind(dataset)
    shape = tuple(map(int, dataset.shape)) if kind else ()
    return Named(shape, kind, partial(_read, source, name, dataset, kind))


def _kind(dataset: Any) -> str:
    """The letter of numpy of plain numbers and texts; "" for all types that can hold references or objects."""
    from h5py import h5s, h5t

    if dataset.get_space().get_simple_extent_type() != h5s.SIMPLE:
        return ""
    kind = dataset.get_type()
    if kind.get_class() == h5t.STRING:
        return "S"
    if kind.get_class() not in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM):
        return ""
    kinds = "b" if kind.get_class() == h5t.ENUM else "fiu"  # h5py writes truth values as an enumeration
    try:
        return str(kind.dtype.kind) if kind.dtype.kind in kinds else ""
    except TypeError:  # numbers of a form that NumPy lacks
        return ""


def _read(source: Source, name: str, dataset: Any, kind: str) -> np.ndarray:
    where = f"{source.path}: {name}"
    if not kind:
        raise DataError(
            f"{where}: expected numbers or text, its type is of another class; of a table of pandas, "
            "pandas.read_hdf(...).to_parquet(...) makes a file that is read"
        )
    _check_storage(source, where, dataset)
    if kind == "S":
        return _read_texts(source, where, dataset)
    values = np.empty(dataset.shape, dtype=dataset.dtype)
    _fill(dataset, values)
    return values


def _check_storage(source: Source, where: str, dataset: Any) -> None:
    """DataError unless all values are in this file, in a form that needs no plugin, and as many as it can hold."""
    from h5py import h5d

    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL or properties.get_external_count():
        raise DataError(
            f"{where}: its values are in other files (virtual or external storage); copy them into one file"
        )
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    unknown = sorted(set(filters) - set(FILTERS))
    if unknown:
        raise DataError(
            f"{where}: HDF5 filter {unknown[0]} is not read; save it without, or with {', '.join(FILTERS.values())}"
        )
    declared = math.prod(map(int, dataset.shape)) * int(dataset.get_type().get_size())
    check_expanded(source.path, declared)
    if layout == h5d.CHUNKED:
        _check_chunks(source, where, dataset, properties.get_chunk())
    elif dataset.get_storage_size() < declared:
        raise DataError(
            f"{where}: declares {declared:,} bytes, stores {dataset.get_storage_size():,}; it was not written"
        )


def _check_chunks(source: Source, where: str, dataset: Any, chunk: tuple[int, ...]) -> None:
    check_expanded(source.path, math.prod(map(int, chunk)) * int(dataset.get_type().get_size()))
    needed = math.prod(-(-int(extent) // int(step)) for extent, step in zip(dataset.shape, chunk, strict=True))
    written = dataset.get_num_chunks()
    if written < needed:
        raise DataError(f"{where}: {needed - written:,} of its {needed:,} chunks were not written")


def _fill(dataset: Any, values: np.ndarray) -> None:
    from h5py import h5s

    if values.size:
        dataset.read(h5s.ALL, h5s.ALL, values)


def _read_texts(source: Source, where: str, dataset: Any) -> np.ndarray:
    """Texts as bytes. Those of variable length are read in blocks, because each may be as long as the file."""
    import h5py

    size = int(dataset.get_type().get_size())
    if not dataset.get_type().is_variable_str():
        if size > MAX_TEXT_BYTES:
            raise DataError(f"{where}: texts of {size:,} bytes; at most {MAX_TEXT_BYTES:,}")
        fixed = np.empty(dataset.shape, dtype=f"S{size}")
        _fill(dataset, fixed)
        return fixed
    rows = max(1, min(4096, FREE_BYTES // max(1, source.path.stat().st_size)))
    texts: list[bytes] = []
    high = h5py.Dataset(dataset)
    for start in range(0, dataset.shape[0], rows):
        texts += [value if isinstance(value, bytes) else str(value).encode() for value in high[start : start + rows]]
        longest = max(map(len, texts[start:]))
        if longest > MAX_TEXT_BYTES:
            raise DataError(f"{where}: a text of {longest:,} bytes; at most {MAX_TEXT_BYTES:,}")
    return np.array(texts, dtype=object)  # not as wide as the longest one
