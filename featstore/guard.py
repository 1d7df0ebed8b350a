"""What an HDF5 image must look like before a single value of it is read.

HDF5 files can name other files (external links, external storage, virtual datasets), claim terabytes in a kilobyte
and hold objects of any kind. A shard needs none of that, so everything beyond plain contiguous arrays under known
names is refused, whatever its checksum says.
"""

from collections.abc import Mapping, Set

import h5py
import numpy as np

MAX_TEXT_BYTES = 1 << 16
"""Longest fixed-width text, and longest attribute, in bytes."""

_LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)


class HostileFile(ValueError):
    """Raised with what is wrong; the reader adds the file's name."""


def check_image(file: h5py.File, size: int, groups: Mapping[str, Set[str]], attributes: Set[str]) -> None:
    """Refuse `file` unless it holds exactly `groups` (group name -> dataset names, "" is the root) and `attributes`.

    `size` is the number of bytes the file really has: no dataset may claim more, and all together neither.
    """
    _check_attributes(file, attributes)
    claimed = 0
    for group_name, dataset_names in groups.items():
        children = {name for name in groups if name} if not group_name else set()
        group = file[group_name] if group_name else file
        _check_members(group, dataset_names | children)
        if group_name:
            _check_attributes(group, frozenset())
        for name in sorted(dataset_names):
            claimed += _check_dataset(group, name, size)
    if claimed > size:
        raise HostileFile(f"its datasets claim {claimed} bytes in a file of {size}")


def _check_members(group: h5py.Group, expected: Set[str]) -> None:
    if len(group) != len(expected):
        raise HostileFile(f"{group.name} has {len(group)} members, expected {len(expected)}")
    for name in sorted(expected):
        link = group.get(name, getlink=True)  # never follows: a link is judged before its target is touched
        if link is None:
            raise HostileFile(f"{group.name} lacks {name!r}")
        if not isinstance(link, h5py.HardLink):
            raise HostileFile(f"{name!r} is a {type(link).__name__}, only plain objects are allowed")


def _check_dataset(group: h5py.Group, name: str, size: int) -> int:
    if group.get(name, getclass=True) is not h5py.Dataset:
        raise HostileFile(f"{name!r} is not a dataset")
    dataset = group[name].id
    _check_attributes(group[name], frozenset())
    _check_type(name, dataset.get_type())
    properties = dataset.get_create_plist()
    if properties.get_layout() not in _LAYOUTS:
        raise HostileFile(f"{name!r} is chunked or virtual, only contiguous arrays are allowed")
    if properties.get_external_count() or properties.get_nfilters():
        raise HostileFile(f"{name!r} uses external storage or filters")
    if dataset.get_space().get_simple_extent_type() != h5py.h5s.SIMPLE:
        raise HostileFile(f"{name!r} is not an array")
    claimed = dataset.get_type().get_size()
    for extent in dataset.shape:
        claimed *= extent  # Python integers: no overflow
    stored = dataset.get_storage_size()
    if claimed > size or claimed != stored:
        raise HostileFile(f"{name!r} claims {claimed} bytes, stores {stored}, in a file of {size}")
    return int(claimed)


def _check_type(name: str, kind: h5py.h5t.TypeID) -> None:
    """Accept int, float16/32/64-free floats and fixed-width text; anything with references or pointers is refused."""
    if kind.get_class() == h5py.h5t.STRING:
        allowed = not kind.is_variable_str() and kind.get_size() <= MAX_TEXT_BYTES
    elif kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        allowed = kind.dtype in (np.int64, np.int32, np.int16, np.float32, np.float16)
    else:
        allowed = False
    if not allowed:
        raise HostileFile(f"{name!r} has a type that no shard holds")


def _check_attributes(thing: h5py.HLObject, allowed: Set[str]) -> None:
    count = h5py.h5a.get_num_attrs(thing.id)
    if count != len(allowed):
        raise HostileFile(f"{thing.name} has {count} attributes, expected {len(allowed)}")
    for index in range(count):
        attribute = h5py.h5a.open(thing.id, index=index)
        name = attribute.name.decode("utf-8", "replace")
        kind = attribute.get_type()
        if name not in allowed:
            raise HostileFile(f"unknown attribute {name[:80]!r}")
        if kind.get_class() == h5py.h5t.STRING:
            plain = not kind.is_variable_str()
        else:
            plain = kind.get_class() == h5py.h5t.INTEGER
        if not plain or attribute.shape != () or kind.get_size() > MAX_TEXT_BYTES:
            raise HostileFile(f"attribute {name!r} is not one short value")
