"""Structural checks of an HDF5 file, made before any value of it is read.

HDF5 files can refer to other files (external links, external storage, virtual datasets), declare terabytes in a
kilobyte, and hold objects of any kind. A shard needs only plain contiguous arrays with known names, so everything else
is rejected, even when the checksum is right.
"""

import math
from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5s, h5t

from featstore.clip import MAX_TEXT_BYTES

_NUMBERS = (np.int64, np.int32, np.int16, np.float32, np.float16)


class HostileFile(ValueError):
    """Raised for a file with a forbidden structure; the reader adds the name of the file."""


def check_image(
    file: h5f.FileID,
    size: int,
    groups: Mapping[str, Set[str]],
    attributes: Set[str],
    optional: Mapping[str, Set[str]] = MappingProxyType({}),
) -> tuple[dict[str, h5d.DatasetID], dict[str, bytes | int]]:
    """Datasets by path and attributes of `file`; HostileFile unless it holds exactly `groups` and `attributes`.

    groups: dataset names per group ("" is the root). optional: names per group that may be missing. size: real size of
    the file in bytes, the limit for the declared size of all datasets together. The checks use HDF5 handles, because
    with h5py objects they take five times as long as reading a thousand rows.
    """
    root = h5g.open(file, b"/")
    datasets: dict[str, h5d.DatasetID] = {}
    for name, needed in groups.items():
        subgroups = set() if name else {group for group in groups if group}
        group = _member(root, name, h5g.GroupID) if name else root
        members = needed | {member for member in optional.get(name, ()) if member.encode() in group}
        if name:
            _attributes(group, name, frozenset())
        if group.get_num_objs() != len(members | subgroups):
            raise HostileFile(f"/{name} has {group.get_num_objs()} members, expected {len(members | subgroups)}")
        prefix = f"{name}/" if name else ""
        datasets |= {prefix + member: _dataset(group, member, size) for member in sorted(members)}
    declared = sum(_declared_bytes(dataset) for dataset in datasets.values())
    if declared > size:
        raise HostileFile(f"its datasets declare {declared} bytes in a file of {size}")
    return datasets, _attributes(root, "the root", attributes)


def version_of(file: h5f.FileID) -> int:
    """The integer attribute `version` of the root, 0 where there is none: a newer version may follow other rules."""
    root = h5g.open(file, b"/")
    if not h5a.exists(root, b"version"):
        return 0
    attribute = h5a.open(root, b"version")
    if attribute.shape != () or attribute.get_type().get_class() != h5t.INTEGER:
        return 0
    value = np.empty((), dtype=attribute.dtype)
    attribute.read(value)
    return int(value)


def _member(group: h5g.GroupID, name: str, kind: type) -> Any:
    """The member of a group; its link is checked before its target is opened."""
    if name.encode() not in group:
        raise HostileFile(f"{name!r} is missing")
    if group.links.get_info(name.encode()).type != h5l.TYPE_HARD:
        raise HostileFile(f"{name!r} is a soft or external link, only hard links are allowed")
    member = h5o.open(group, name.encode())
    if not isinstance(member, kind):
        raise HostileFile(f"{name!r} is a {type(member).__name__}, expected {kind.__name__}")
    return member


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
    declared, stored = _declared_bytes(dataset), dataset.get_storage_size()
    if declared > size or declared != stored:
        raise HostileFile(f"{name!r} declares {declared} bytes, stores {stored}, in a file of {size}")
    return dataset


def _declared_bytes(dataset: h5d.DatasetID) -> int:
    return math.prod(map(int, dataset.shape)) * int(dataset.get_type().get_size())  # Python integers: no overflow


def _check_type(name: str, kind: h5t.TypeID) -> None:
    """Accept fixed-width text and plain numbers; reject every type that can hold references or pointers."""
    if kind.get_class() == h5t.STRING:
        allowed = not kind.is_variable_str() and kind.get_size() <= MAX_TEXT_BYTES
    elif kind.get_class() in (h5t.INTEGER, h5t.FLOAT):
        allowed = kind.dtype in _NUMBERS
    else:
        allowed = False
    if not allowed:
        raise HostileFile(f"{name!r} has a type that is not allowed in a shard")


def _attributes(owner: Any, where: str, allowed: Set[str]) -> dict[str, bytes | int]:
    count = h5a.get_num_attrs(owner)
    if count != len(allowed):
        raise HostileFile(f"{where} has {count} attributes, expected {len(allowed)}")
    values: dict[str, bytes | int] = {}
    for index in range(count):
        attribute = h5a.open(owner, index=index)
        name = attribute.name.decode("utf-8", "replace")
        if name not in allowed:
            raise HostileFile(f"unknown attribute {name[:80]!r}")
        kind = attribute.get_type()
        text = kind.get_class() == h5t.STRING and not kind.is_variable_str()
        if not (text or kind.get_class() == h5t.INTEGER) or attribute.shape != () or kind.get_size() > MAX_TEXT_BYTES:
            raise HostileFile(f"attribute {name!r} is not a single integer or text of at most {MAX_TEXT_BYTES} bytes")
        value = np.empty((), dtype=kind.dtype)
        attribute.read(value)
        values[name] = value.item()
    return values
