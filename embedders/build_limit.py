"""A limit on the size of a network while it is built, because the settings of a file may ask for any size."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

MOST_VALUES, MOST_TENSORS = 4_000_000_000, 200_000
"""Limits of networks whose size no file states; 4e9 values are 16 GB."""

SPARE_VALUES = 10_000_000
SPARE_TENSORS = 10_000
PASSES = 4
"""How often a network may make each of its values or tensors, because their first values pass through others."""

FACTORIES = {"empty", "zeros", "ones", "full", "rand", "randn", "new_empty", "new_zeros", "new_ones", "new_full"}
"""Operations that make a tensor of a given size."""


class TooLargeError(ValueError):
    """Raised when a network has more values or tensors than its limit."""


class BuildLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context in which tensors are counted before memory for them is taken; TooLargeError beyond the limit.

    values: of all tensors together. tensors: number of them. Only tensors that the own thread makes are counted.
    """

    def __init__(self, values: int = MOST_VALUES, tensors: int = MOST_TENSORS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values, self.tensors = values, tensors

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> "BuildLimit":
        """The limit for the network that these tensors are the weights of."""
        return cls.of_counts(sum(value.numel() for value in tensors.values()), len(tensors))

    @classmethod
    def of_counts(cls, values: int, tensors: int) -> "BuildLimit":
        """The limit for a network of so many values in so many tensors."""
        return cls(PASSES * values + SPARE_VALUES, PASSES * tensors + SPARE_TENSORS)

    def __enter__(self) -> "BuildLimit":
        """Start to count."""
        self.values_left, self.tensors_left = self.values, self.tensors
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a new tensor, then make it."""
        names = [argument.name for argument in func._schema.arguments[: len(args)]]
        if "size" in names and func.overloadpacket.__name__ in FACTORIES:
            self._count(math.prod(args[names.index("size")]))
        elif names[:1] == ["n"]:  # eye
            self._count(args[0] * (args[1] if names[1:2] == ["m"] else args[0]))
        return func(*args, **(kwargs or {}))

    def _count(self, values: int) -> None:
        self.values_left -= values
        self.tensors_left -= 1
        if self.values_left < 0 or self.tensors_left < 0:
            raise TooLargeError(
                f"the network has more than {self.values:,} values or {self.tensors:,} tensors; make it smaller"
            )
