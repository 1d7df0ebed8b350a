"""Kinds of learned values: how each becomes JSON and arrays, and how it is checked on its way back.

A value is read by the kind that the program expects, never by what the tree says that it is. Arrays have names of their
own in the tree: "7", or "7.T" for one in Fortran order, which is stored transposed, because products of matrices round
differently in another order.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from featstore.spec import expected

T = TypeVar("T")

POSITIVE = 5e-324
"""The smallest positive float64."""

FLOATS, INTEGERS = ("float32", "float64"), ("int32", "int64")

Claim = tuple[str, bool, str]
"""Attribute, whether it is as expected, and what was expected and what came."""


class Kind(Protocol):
    """What a learned value is."""

    def write(self, value: Any, arrays: "Stored") -> Any:
        """Value as JSON; its arrays go to `arrays`."""
        ...

    def read(self, node: Any, where: str, arrays: "Given") -> Any:
        """Value of what `write` returned; ValueError names `where` and says what does not fit."""
        ...


class Stored:
    """Named arrays, each stored once: found again by identity or memory, else by the hash of its content."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[Any, tuple[str, Any]] = {}  # with the array, whose memory would be reused otherwise

    def add(self, array: np.ndarray) -> str:
        """Name of an array in C order, under which an equal one may be stored already."""
        memory = (array.__array_interface__["data"][0], array.shape, array.dtype.str)
        if memory not in self._names:
            digest = (hashlib.sha256(array.data if array.size else b"").digest(), array.shape, array.dtype.str)
            name = self._names.setdefault(digest, (str(len(self.arrays)), array))[0]
            self.arrays.setdefault(name, array)
            self._names[memory] = (name, array)
        return self._names[memory][0]


class Given:
    """Arrays of a file, and what was read from them: equal values become the same object, and are checked once."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self._values: dict[Any, tuple[Any, Any]] = {}  # with their parts, whose ids would be reused otherwise

    def once(self, key: Any, parts: Any, make: Callable[[], T]) -> T:
        """make(), or what it gave for an equal key."""
        if key not in self._values:
            self._values[key] = (make(), parts)
        value: T = self._values[key][0]
        return value


@dataclass(frozen=True)
class Array:
    """An array of one of the dtypes; no value is below `least`."""

    ndim: int
    dtypes: tuple[str, ...] = ("float64",)
    least: float | None = None
    finite: bool = True

    def write(self, value: np.ndarray, arrays: Stored) -> str:
        """Name of the array, see the module."""
        value = np.asarray(value)
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            return f"{arrays.add(value.T)}.T"
        return arrays.add(np.ascontiguousarray(value))

    def read(self, node: Any, where: str, arrays: Given) -> np.ndarray:
        """The array of this name."""
        name = node.removesuffix(".T") if isinstance(node, str) else ""
        if name not in arrays.arrays:
            raise ValueError(f"{where}: expected the name of an array of the file, got {brief(node)}")
        return arrays.once((self, node), None, lambda: self._checked(arrays.arrays[name], where, name != node))

    def _checked(self, array: np.ndarray, where: str, transposed: bool) -> np.ndarray:
        if not isinstance(array, np.ndarray) or array.ndim != self.ndim:
            shape = getattr(array, "shape", type(array).__name__)
            raise ValueError(f"{where}: expected an array of {self.ndim} dimensions, got {shape}")
        if array.dtype not in map(np.dtype, self.dtypes):
            raise ValueError(f"{where}: expected {' or '.join(self.dtypes)}, got {array.dtype}")
        array = np.require(array, requirements=["C", "A", "E"])
        if self.finite and not np.isfinite(array).all():
            raise ValueError(f"{where}: expected finite values, got NaN or infinity")
        if self.least is not None and array.size and array.min() < self.least:
            raise ValueError(f"{where}: expected values of at least {self.least}, got {array.min()}")
        return array.T if transposed else array


@dataclass(frozen=True)
class Plain:
    """A bool, int, text or finite float."""

    type: Callable[[Any], bool | int | float | str]

    def write(self, value: Any, arrays: Stored) -> Any:
        """The value as its Python type."""
        return self.type(value)

    def read(self, node: Any, where: str, arrays: Given) -> Any:
        """The value."""
        if type(node) is not self.type or (isinstance(node, float) and not math.isfinite(node)):
            raise ValueError(f"{where}: expected {expected(self.type)}, got {brief(node)}")
        return node


@dataclass(frozen=True)
class Maybe:
    """A value or None."""

    kind: Kind

    def write(self, value: Any, arrays: Stored) -> Any:
        """None, or as its kind."""
        return None if value is None else self.kind.write(value, arrays)

    def read(self, node: Any, where: str, arrays: Given) -> Any:
        """None, or as its kind."""
        return None if node is None else self.kind.read(node, where, arrays)


@dataclass(frozen=True)
class Many:
    """A list of one kind, or a tuple."""

    kind: Kind
    make: Callable[[Iterable[Any]], Any] = list

    def write(self, value: Any, arrays: Stored) -> list[Any]:
        """Each as its kind."""
        return [self.kind.write(item, arrays) for item in value]

    def read(self, node: Any, where: str, arrays: Given) -> Any:
        """Each as its kind."""
        if not isinstance(node, list):
            raise ValueError(f"{where}: expected a list, got {brief(node)}")
        return self.make([self.kind.read(item, f"{where}[{i}]", arrays) for i, item in enumerate(node)])


def _unchecked(value: Any) -> Iterable[Claim]:
    return ()


@dataclass(frozen=True, eq=False)
class Record:
    """What `make` builds from its fields, about which the `claims` are; those of equal fields are one object."""

    make: Callable[..., Any]
    fields: Mapping[str, Kind]
    claims: Callable[[Any], Iterable[Claim]] = field(default=_unchecked)

    def write(self, value: Any, arrays: Stored) -> dict[str, Any]:
        """Each field as its kind."""
        return {name: kind.write(getattr(value, name), arrays) for name, kind in self.fields.items()}

    def read(self, node: Any, where: str, arrays: Given) -> Any:
        """The object of these fields."""
        values = read_fields(self.fields, node, where, arrays)
        return arrays.once((self, _identity([*values.values()])), values, lambda: self._made(values, where))

    def _made(self, values: dict[str, Any], where: str) -> Any:
        try:
            made = self.make(**values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        refuse(self.claims(made), f"{where}.")
        return made


def _identity(value: Any) -> Any:
    """A key that equal values share: numbers and texts themselves, objects by identity."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_identity, value))
    return value if value is None or isinstance(value, (str, int, float)) else ("object", id(value))


def read_fields(fields: Mapping[str, Kind], node: Any, where: str, arrays: Given) -> dict[str, Any]:
    """Values of a JSON object with exactly these fields; ValueError names the field that is missing or unknown."""
    check_names(node, fields, where)
    return {name: kind.read(node[name], f"{where}.{name}", arrays) for name, kind in fields.items()}


def check_names(node: Any, names: Iterable[str], where: str) -> None:
    """ValueError unless a node is a JSON object with exactly these names."""
    if not isinstance(node, dict) or node.keys() != set(names):
        shown = ", ".join(map(brief, list(node)[:20])) if isinstance(node, dict) else brief(node)
        raise ValueError(f"{where}: expected exactly {', '.join(names)}, got {shown or 'none'}")


def refuse(claims: Iterable[Claim], where: str) -> None:
    """ValueError for the first claim that does not hold; those after it may rely on it."""
    for name, holds, claim in claims:
        if not holds:
            raise ValueError(f"{where}{name}: expected {claim}")


def shaped(name: str, array: np.ndarray, shape: tuple[int, ...]) -> Claim:
    """The claim that an array has a shape."""
    return name, array.shape == shape, f"shape {shape}, got {array.shape}"


def brief(node: Any) -> str:
    """A value for a message, which a hostile file cannot make long."""
    if isinstance(node, str):
        return repr(node[:40])
    return repr(node) if node is None or isinstance(node, (bool, float)) else type(node).__name__
