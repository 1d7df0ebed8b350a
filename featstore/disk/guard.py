"""What an HDF5 image must look like before a single value of it is read.

HDF5 files can name other files (external links, external storage, virtual datasets), claim terabytes in a kilobyte
and hold objects of any kind. A shard needs none of that, so everything beyond plain contiguous arrays under known
names is refused, whatever its checksum says.
"""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5s, h5t

MAX_TEXT_BYTES = 1 << 16
"""Longest fixed-width text, and longest attribute, in bytes."""

_NUMBERS = (np.int64, np.int32, np.int16, np.float32, np.float16)


class HostileFile(ValueError):
    """Raised with what is wrong; the reader adds the file's name."""


def check_image(
    file: h5f.FileID, size: int, groups: Mapping[str, Set[str]], attributes: Set[str]
) -> tuple[dict[str, h5d.DatasetID], dict[str, bytes | int]]:
    """Datasets by path and attributes of `file`, once it is found to hold exactly `groups` and `attributes`.

    `groups` maps each group ("" is the root) to its datasets. `size` is the number of bytes the file really has: no
    dataset may claim more, and all together neither. Works on HDF5's own handles: with h5py's objects the checks cost
    five times as much as reading a thousand rows.
    """
    root = h5g.open(file, b"/")
    datasets: dict[str, h5d.DatasetID] = {}
    for name, members in groups.items():
        subgroups = set() if name else {group for group in groups if group}
        group = _member(root, name, h5g.GroupID) if name else root
        if name:
            _attributes(group, name, frozenset())
        if group.get_num_objs() != len(members | subgroups):
            raise HostileFile(f"/{name} has {group.get_num_objs()} members, expected {len(members | subgroups)}")
        prefix = f"{name}/" if name else ""
        datasets |= {prefix + member: _dataset(group, member, size) for member in sorted(members)}
    claimed = sum(_claimed(dataset) for dataset in datasets.values())
    if claimed > size:
        raise HostileFile(f"its datasets claim {claimed} bytes in a file of {size}")
    return datasets, _attributes(root, "the root", attributes)


def _member(group: h5g.GroupID, name: str, kind: type) -> Any:
    """The object behind a plain link: the link is judged before its target is touched."""
    if name.encode() not in group:
        raise HostileFile(f"{name!r} is missing")
    if group.links.get_info(name.encode()).type != h5l.TYPE_HARD:
        raise HostileFile(f"{name!r} is a link to elsewhere, only plain objects are allowed")
    found = h5o.open(group, name.encode())
    if not isinstance(found, kind):
        raise HostileFile(f"{name!r} is a {type(found).__name__}, expected {kind.__name__}")
    return found


def _dataset(group: h5g.GroupID, name: str, size: int) -> h5d.DatasetID:
    dataset = _member(group, name, h5d.DatasetID)
    _attributes(dataset, name, frozenset())
    _check_type(name, dataset.get_type())
    properties = dataset.get_create_plist()
    if properties.get_layout() not in (h5d.CONTIGUOUS, h5d.COMPACT):
        raise HostileFile(f"{name!r} is chunked or virtual, only contiguous arrays are allowed")
    if properties.get_external_count() or properties.get_nfilters():
        raise HostileFile(f"{name!r} uses external storage or filters")
    if dataset.get_space().get_simple_extent_type() != h5s.SIMPLE:
        raise HostileFile(f"{name!r} is not an array")
    claimed, stored = _claimed(dataset), dataset.get_storage_size()
    if claimed > size or claimed != stored:
        raise HostileFile(f"{name!r} claims {claimed} bytes, stores {stored}, in a file of {size}")
    return dataset


def _claimed(dataset: h5d.DatasetID) -> int:
    claimed = int(dataset.get_type().get_size())
    for extent in dataset.shape:
        claimed *= int(extent)  # Python integers: no overflow
    return claimed


def _check_type(name: str, kind: h5t.TypeID) -> None:
    """Accept fixed-width text and plain numbers; whatever holds references or pointers is refused."""
    if kind.get_class() == h5t.STRING:
        allowed = not kind.is_variable_str() and kind.get_size() <= MAX_TEXT_BYTES
    elif kind.get_class() in (h5t.INTEGER, h5t.FLOAT):
        allowed = kind.dtype in _NUMBERS
    else:
        allowed = False
    if not allowed:
        raise HostileFile(f"{name!r} has a type that no shard holds")


def _attributes(thing: Any, where: str, allowed: Set[str]) -> dict[str, bytes | int]:
    count = h5a.get_num_attrs(thing)
    if count != len(allowed):
        raise HostileFile(f"{where} has {count} attributes, expected {len(allowed)}")
    found: dict[str, bytes | int] = {}
    for index in range(count):
        attribute = h5a.open(thing, index=index)
        name = attribute.name.decode("utf-8", "replace")
        if name not in allowed:
            raise HostileFile(f"unknown attribute {name[:80]!r}")
        kind = attribute.get_type()
        text = kind.get_class() == h5t.STRING and not kind.is_variable_str()
        if not (text or kind.get_class() == h5t.INTEGER) or attribute.shape != () or kind.get_size() > MAX_TEXT_BYTES:
            raise HostileFile(f"attribute {name!r} is not one short value")
        value = np.empty((), dtype=kind.dtype)
        attribute.read(value)
        found[name] = value.item()
    return found
