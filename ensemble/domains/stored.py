"""Arrays and facts of a stored model, taken one by one: what does not fit is refused, because a file may be hostile."""

from collections.abc import Mapping
from typing import Any

import numpy as np

FLOAT = ("float64",)
ROWS = ("float16", "float32", "float64")
"""Types that rows of an embedding may have."""


class Stored:
    """Named numeric arrays, each of which is taken once; ValueError for one that is missing, left over or unfit."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str = "") -> None:
        self._left = dict(arrays)
        self._prefix = prefix

    def under(self, prefix: str) -> "Stored":
        """The same arrays, with names that begin with a prefix."""
        part = Stored({}, f"{self._prefix}{prefix}.")
        part._left = self._left
        return part

    def take(self, name: str, dtypes: tuple[str, ...], shape: tuple[int | None, ...]) -> np.ndarray:
        """A finite array of one of the dtypes and of a shape; None stands for any length."""
        return finite(self.take_any(name, dtypes, shape), self._prefix + name)

    def take_any(self, name: str, dtypes: tuple[str, ...], shape: tuple[int | None, ...]) -> np.ndarray:
        """As `take`, for an array that may hold NaN or infinity."""
        name = self._prefix + name
        array = self._left.pop(name, None)
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name}: expected an array, got {'none' if array is None else type(array).__name__}")
        if not any(array.dtype == np.dtype(dtype) for dtype in dtypes):
            raise ValueError(f"{name}: expected {' or '.join(dtypes)}, got {array.dtype}")
        if array.ndim != len(shape) or any(want not in (None, n) for want, n in zip(shape, array.shape, strict=True)):
            expected = ", ".join("any" if length is None else str(length) for length in shape)
            raise ValueError(f"{name}: expected shape ({expected}), got {array.shape}")
        return array

    def finish(self) -> None:
        """ValueError where an array was not taken."""
        if self._left:
            names = ", ".join(repr(name) for name in sorted(map(str, self._left))[:3])
            raise ValueError(f"{len(self._left)} arrays that no model of domains has, first {names}")


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """The array; ValueError where a value is not finite."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: every value must be finite")
    return array


def check(fits: bool | np.bool_, what: str) -> None:
    """ValueError that says what a stored model must have, unless it fits."""
    if not fits:
        raise ValueError(f"a stored model of domains: expected {what}")


def fact(meta: Any, name: str, kind: type) -> Any:
    """One entry of a JSON object; ValueError unless it is of a type."""
    check(isinstance(meta, dict), f"an object with {name!r}, got {type(meta).__name__}")
    value = meta.get(name)
    check(type(value) is kind, f"{name} as {kind.__name__}, got {type(value).__name__}")
    return value


def texts(meta: Any, name: str) -> tuple[str, ...]:
    """An entry that lists different texts."""
    values = fact(meta, name, list)
    check(all(type(value) is str for value in values), f"{name} as a list of texts")
    check(len(set(values)) == len(values), f"{name} without repetition")
    return tuple(values)
