"""Products of blocks by torch: of 8-bit codes if they are exact and faster on this processor, else of float32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter

import torch


def float_product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    """Write left @ right of float32 matrices into `out`."""
    torch.mm(left, right, out=out)


def int8_product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    """Write left @ right of int8 matrices into int32 `out`."""
    torch._int_mm(left, right, out=out)


def has_gpu() -> bool:
    """Whether torch can use a CUDA device."""
    return torch.cuda.is_available()


@cache
def int8_is_faster() -> bool:
    """Whether integer products are exact on this processor and faster than float32; measured once per process.

    They are with VNNI instructions. Older processors sum products of bytes in 16 bits, which the largest codes
    overflow.
    """
    try:
        extreme = torch.full((512, 512), 127, dtype=torch.int8)
        extreme[::2] = -127
        products = torch.empty((512, 512), dtype=torch.int32)
        int8_product(extreme, extreme.T, products)
        if not torch.equal(products.double(), extreme.double() @ extreme.double().T):
            return False
    except (AttributeError, RuntimeError):
        return False
    plain = torch.rand(512, 512)
    with single_threaded():
        return _seconds(int8_product, extreme, products) < _seconds(float_product, plain, torch.empty(512, 512))


def _seconds(
    product: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None], factor: torch.Tensor, out: torch.Tensor
) -> float:
    """Shortest time of 8 products."""
    shortest = float("inf")
    for _ in range(8):
        start = perf_counter()
        product(factor, factor.T, out)
        shortest = min(shortest, perf_counter() - start)
    return shortest


@contextmanager
def single_threaded() -> Iterator[None]:
    """Context in which a torch product uses one thread: the threads share out the queries."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
