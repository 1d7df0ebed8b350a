"""A bank of rows as 8-bit codes: products several times cheaper than float32, with an error that is bounded.

A unit row u less the centre c of the bank is a code q times a scale s, and a rest e. For a query u and a bank row v,

    u.v = (u-c).(v-c) + c.v + (u.c - c.c)    and    |(u-c).(v-c) - s_u s_v q_u.q_v| <= |e_u| |v-c| + |u-c + e_u| |e_v|

by Cauchy and Schwarz. So a row can be passed over when its integer product says that it is farther, by more than the
bound, than k rows that were measured; all others are measured in float64. Without the centre the bound would be as
large as the differences between recordings that are all alike. Rows are ordered by their distance from the centre, so
that the rows of a tile suit one scale.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import numpy as np
import torch

from detectors import kernels

TILE = 1024
"""Bank rows whose products with some hundred queries stay in a second-level cache."""

ROUNDING = 2.0**-19
"""Bound of what float32 arithmetic adds to a cosine that is put together from codes; its terms are below 8."""

Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]
"""Writes left @ right of two matrices into the third."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Some rows of a bank: `weights` (d, t) for products, and what `kernels.take_tile` needs to know of them."""

    weights: torch.Tensor
    codes: tuple[np.ndarray, float, float, float]
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class TiledBank:
    """Float32 rows (n, d) prepared for many searches; `coded` says whether products are of 8-bit codes."""

    n: int
    d: int
    coded: bool
    centre: np.ndarray
    tiles: tuple[Tile, ...]

    @classmethod
    def of(cls, rows: np.ndarray, ids: np.ndarray | None = None, *, coded: bool | None = None) -> "TiledBank":
        """Bank of `rows`, known by `ids` (int64, 0 or more; default their positions), which break ties.

        `coded`: True for 8-bit codes, False for float32, None for what is faster here. Raises ValueError for rows that
        are no float32 matrix of finite values.
        """
        rows = checked(rows, "bank")
        ids = np.arange(len(rows)) if ids is None else np.asarray(ids, dtype=np.int64)
        if ids.shape != (len(rows),) or (len(ids) and ids.min() < 0):
            raise ValueError(f"expected one id of 0 or more per row of {len(rows)}, got ids of shape {ids.shape}")
        coded = codes_pay() if coded is None else coded
        centre, length = _spread(rows) if coded else (np.zeros(rows.shape[1]), np.zeros(len(rows)))
        order = np.argsort(length, kind="stable")
        parts = [order[start : start + TILE] for start in range(0, len(order), TILE)]
        make = _coded_tile if coded else _plain_tile
        return cls(len(rows), rows.shape[1], coded, centre, tuple(make(rows[at], ids[at], centre) for at in parts))

    def encode(self, queries: np.ndarray) -> "Queries":
        """Float32 rows (m, d) as this bank multiplies them."""
        units, _ = _units(queries)
        facts, units32 = np.zeros((4, len(queries))), units.astype(np.float32)
        if not self.coded:
            facts[0], facts[3] = 1.0, (2.5 * self.d + 16) * 2.0**-24
            return Queries(units, units32, torch.from_numpy(units32), facts)
        codes = np.empty(queries.shape, dtype=np.int8)
        kernels.encode_rows(units, self.centre, np.zeros(len(queries)), codes, facts)
        facts[3] += ROUNDING - self.centre @ self.centre
        return Queries(units, units32, torch.from_numpy(codes), facts)

    def product(self) -> tuple[Product, torch.dtype]:
        """How tiles are multiplied, and the type of what comes out."""
        return (_int8_product, torch.int32) if self.coded else (_float_product, torch.float32)


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries as float64 and float32 unit rows, as factors of products, and their facts; see `kernels.take_tile`."""

    units: np.ndarray
    units32: np.ndarray
    factors: torch.Tensor
    facts: np.ndarray


def bytes_per_row(d: int) -> int:
    """Memory of a bank per row."""
    return 5 * d + 32


def checked(rows: np.ndarray, what: str) -> np.ndarray:
    """Rows as a contiguous float32 matrix; ValueError where they are none, or not finite."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected a matrix of numbers (n, d), got {rows.dtype} of shape {rows.shape}")
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"{what}: row {row} has a value that is NaN, infinite or too large for float32")
    return rows


def _units(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    units, inverse = np.empty(rows.shape), np.empty(len(rows))
    kernels.unit_rows(rows, units, inverse)
    return units, inverse


def _spread(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) of the unit rows, and the squared distance (n,) of each from it, a tile at a time to save memory."""
    parts = [slice(start, start + TILE) for start in range(0, len(rows), TILE)]
    centre = np.zeros(rows.shape[1])
    for part in parts:
        centre += _units(rows[part])[0].sum(axis=0)
    centre /= max(len(rows), 1)
    length = np.empty(len(rows))
    for part in parts:
        offset = _units(rows[part])[0] - centre
        length[part] = np.einsum("ij,ij->i", offset, offset)
    return centre, length


def _padded(n: int) -> int:
    return -(-n // kernels.LANES) * kernels.LANES


def _offsets(n: int) -> np.ndarray:
    """Nothing to add for the rows of a tile; columns beyond them are never chosen."""
    offsets = np.full(_padded(n), kernels.NEVER, dtype=np.float32)
    offsets[:n] = 0.0
    return offsets


def _coded_tile(rows: np.ndarray, ids: np.ndarray, centre: np.ndarray) -> Tile:
    n = len(rows)
    units, inverse = _units(rows)
    scale = max(float(np.abs(units - centre).max()) / 127.0, 1e-30)
    codes, facts = np.zeros((_padded(n), rows.shape[1]), dtype=np.int8), np.empty((4, n))
    kernels.encode_rows(units, centre, np.full(n, scale), codes[:n], facts)
    offsets = _offsets(n)
    offsets[:n] = facts[3]
    described = (offsets, scale, float(facts[2].max()), float(facts[1].max()))
    return Tile(torch.from_numpy(codes).T, described, (rows, inverse, ids))


def _plain_tile(rows: np.ndarray, ids: np.ndarray, centre: np.ndarray) -> Tile:
    n = len(rows)
    units, inverse = _units(rows)
    weights = np.zeros((_padded(n), rows.shape[1]), dtype=np.float32)
    weights[:n] = units
    return Tile(torch.from_numpy(weights).T, (_offsets(n), 1.0, 0.0, 0.0), (rows, inverse, ids))


def _float_product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    torch.mm(left, right, out=out)


def _int8_product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    torch._int_mm(left, right, out=out)


@cache
def codes_pay() -> bool:
    """Whether integer products are exact here and faster than float32: true of processors with VNNI, as measured once.

    Older ones add products of bytes in 16 bits, which the largest codes would overflow.
    """
    try:
        extreme = torch.full((512, 512), 127, dtype=torch.int8)
        extreme[::2] = -127
        products = torch.empty((512, 512), dtype=torch.int32)
        _int8_product(extreme, extreme.T, products)
        if not torch.equal(products.double(), extreme.double() @ extreme.double().T):
            return False
    except (AttributeError, RuntimeError):
        return False
    plain = torch.rand(512, 512)
    with one_thread_each():
        return _seconds(_int8_product, extreme, products) < _seconds(_float_product, plain, torch.empty(512, 512))


def _seconds(product: Product, factor: torch.Tensor, out: torch.Tensor) -> float:
    """The least time of some products."""
    least = float("inf")
    for _ in range(8):
        start = perf_counter()
        product(factor, factor.T, out)
        least = min(least, perf_counter() - start)
    return least


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Products that stay on their own thread: parallelism is over queries."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
