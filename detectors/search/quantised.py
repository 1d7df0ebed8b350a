"""A bank of rows as 8-bit codes: products several times cheaper than float32, with an error that is bounded.

Half the squared distance of two unit rows u, v is |a|^2 / 2 + |b|^2 / 2 - a.b for a = u - c, b = v - c and any centre
c, here the mean of the bank. Codes p, q with scales s, t stand for a and b and leave out the rests e and f:

    |a.b - s t p.q|  <=  |e| |b| + |s p| |f|  <=  |e| |b| + (|a| + |e|) |f|        (Cauchy and Schwarz)

So a row can be passed over when its integer product says that it is farther, by more than the bound, than k rows that
were measured; all others are measured in float64. Every term is as small as the spread of the bank: recordings that are
all alike are told apart as well as others. Where few dimensions hold most of the spread, rows are turned by a random
rotation first, which spreads it evenly over the codes. Rows are ordered by |b|, so that a tile's rows suit one scale,
and so that whole tiles can be left out: no pair is closer than its lengths differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from detectors.search import kernels
from detectors.search.products import float_product, gpu, int8_pays, int8_product

TILE = 1024
"""Bank rows whose products with some hundred queries stay in a second-level cache."""

CODED = range(2, 2**31 // 127**2)
"""Dimensions that have codes: the products of more would not fit into 32 bits, and of one torch makes none."""

TURN_PAYS = 1.25
"""How much shorter what the codes leave out must become for queries to be turned too."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Some rows of a bank: `weights` (d, t) for products, and what `kernels.take_tile` needs to know of them."""

    weights: torch.Tensor
    codes: tuple[np.ndarray, float, float, float]
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    shortest: float
    """Least distance of a row from the centre; `codes` holds the largest."""


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries as float64 and float32 unit rows, as factors of products, and their facts; see `kernels.take_tile`."""

    units: np.ndarray
    units32: np.ndarray
    factors: torch.Tensor
    facts: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """Distance (m,) of each from the centre of the bank."""
        return np.asarray(self.facts[2])

    def rows(self, at: np.ndarray) -> "Queries":
        """Some of the queries."""
        return Queries(self.units[at], self.units32[at], self.factors[torch.from_numpy(at)], self.facts[:, at])


@dataclass(frozen=True, eq=False)
class TiledBank:
    """Float32 rows (n, d) prepared for many searches; `coded` says whether products are of 8-bit codes."""

    n: int
    d: int
    coded: bool
    centre: np.ndarray
    turn: torch.Tensor | None
    tiles: tuple[Tile, ...]

    @classmethod
    def of(cls, rows: np.ndarray, ids: np.ndarray | None = None, *, coded: bool) -> "TiledBank":
        """Bank of `rows`, known by `ids` (int64, 0 or more; default their positions), which break ties.

        `coded`: products of 8-bit codes instead of float32; `streamed.bank_of` knows what is faster. Raises ValueError
        for rows that are no matrix of finite float32 values, or whose dimensions have no codes.
        """
        rows = checked(rows, "bank")
        ids = np.arange(len(rows)) if ids is None else np.asarray(ids, dtype=np.int64)
        if ids.shape != (len(rows),) or (len(ids) and ids.min() < 0):
            raise ValueError(f"expected one id of 0 or more per row of {len(rows)}, got ids of shape {ids.shape}")
        centre, half = _spread(rows)
        if coded and rows.shape[1] not in CODED:
            raise ValueError(f"rows of {rows.shape[1]} dimensions: codes need {CODED.start} to {CODED.stop - 1}")
        empty = cls(len(rows), rows.shape[1], coded, centre, None, ())
        turn = _helpful_turn(empty, rows) if empty.coded else None
        plan = cls(empty.n, empty.d, empty.coded, centre, turn, ())
        order = np.argsort(half, kind="stable")
        rows, ids = rows[order], ids[order]
        parts = [slice(start, start + TILE) for start in range(0, len(order), TILE)]
        tiles = tuple(plan._tile(rows[part], ids[part]) for part in parts)
        return cls(plan.n, plan.d, plan.coded, centre, turn, tiles)

    def encode(self, queries: np.ndarray) -> Queries:
        """Float32 rows (m, d) as this bank multiplies them."""
        units, _ = _units(queries)
        values, facts = self._values(units)
        factors: torch.Tensor = torch.from_numpy(values)
        if self.coded:
            codes, error = np.empty(values.shape, dtype=np.int8), np.empty(len(values))
            facts[0] = 0.0
            kernels.encode_rows(values, facts[0], codes, error)
            facts[1] += error
            factors = torch.from_numpy(codes)
        return Queries(units, units.astype(np.float32), factors, facts)

    def product(self) -> tuple[Callable[..., Any], torch.dtype]:
        """How tiles are multiplied, and the type of what comes out."""
        return (int8_product, torch.int32) if self.coded else (float_product, torch.float32)

    @property
    def width(self) -> int:
        """Columns of the widest tile."""
        return max((tile.weights.shape[1] for tile in self.tiles), default=0)

    def gaps(self, shortest: float, longest: float) -> np.ndarray:
        """How far the lengths of each tile's rows stay from those between two: no pair is closer than that."""
        below = np.array([shortest - tile.codes[2] for tile in self.tiles])
        above = np.array([tile.shortest - longest for tile in self.tiles])
        return np.asarray(np.maximum(np.maximum(below, above) - 1e-12, 0.0))  # less what lengths are rounded by

    def _values(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centred, perhaps turned float32 rows, and the facts (4, n) scale 1, error, length, half its square."""
        values, facts = np.empty(units.shape, dtype=np.float32), np.ones((4, len(units)))
        kernels.centre_rows(units, self.centre, values, facts[3])
        facts[2] = np.sqrt(2.0 * facts[3])
        lost = 2.0**-21 if self.coded else (2.5 * self.d + 16) * 2.0**-24  # the latter is of products, by length too
        if self.turn is not None:
            values = (torch.from_numpy(values) @ self.turn).numpy()
            lost += np.sqrt(self.d) * (self.d + 4) * 2.0**-24
        facts[1] = lost * facts[2]
        return values, facts

    def _tile(self, rows: np.ndarray, ids: np.ndarray) -> Tile:
        n, width = len(rows), -(-len(rows) // kernels.LANES) * kernels.LANES
        units, inverse = _units(rows)
        values, facts = self._values(units)
        weights, scale = np.zeros((width, self.d), dtype=np.int8 if self.coded else np.float32), 1.0
        if self.coded:
            scale, error = max(float(np.abs(values).max()) / 127.0, 1e-30), np.empty(n)
            kernels.encode_rows(values, np.full(n, scale), weights[:n], error)
            facts[1] += error
        else:
            weights[:n] = values
        offsets = np.full(width, kernels.NEVER, dtype=np.float32)
        offsets[:n] = -facts[3]
        codes = (offsets, scale, float(facts[2].max()), float(facts[1].max()))
        return Tile(torch.from_numpy(weights).T, codes, (rows, inverse, ids), float(facts[2].min()))


def bytes_per_row(d: int) -> int:
    """Memory of a bank per row, with float32 rows and codes, or on a GPU's host twice and thrice float32."""
    return 12 * d + 64 if gpu() else 5 * d + 32 if int8_pays() else 8 * d + 32


def checked(rows: np.ndarray, what: str) -> np.ndarray:
    """Rows as a contiguous float32 matrix; ValueError where they are none, or not finite."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{what}: expected a matrix of numbers (n, d), got {rows.dtype} of shape {rows.shape}")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(rows, dtype=np.float32)
    row = kernels.first_not_finite(rows)
    if row >= 0:
        raise ValueError(f"{what}: row {row} has a value that is NaN, infinite or too large for float32")
    return rows


def _units(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    units, inverse = np.empty(rows.shape), np.empty(len(rows))
    kernels.unit_rows(rows, units, inverse)
    return units, inverse


def _spread(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) of the unit rows, and half the squared distance (n,) of each from it; a tile at a time."""
    parts = [slice(start, start + TILE) for start in range(0, len(rows), TILE)]
    centre, half = np.zeros(rows.shape[1]), np.empty(len(rows))
    for part in parts:
        centre += _units(rows[part])[0].sum(axis=0)
    centre /= max(len(rows), 1)
    centred = np.empty((TILE, rows.shape[1]), dtype=np.float32)
    for part in parts:
        kernels.centre_rows(_units(rows[part])[0], centre, centred, half[part])
    return centre, half


def _helpful_turn(bank: TiledBank, rows: np.ndarray) -> torch.Tensor | None:
    """A rotation where it shortens what the codes of some rows leave out enough to be worth its time."""
    if not len(rows):
        return None
    sample = _units(rows[:: -(-len(rows) // TILE)])[0]
    turn = _rotation(bank.d)
    plain = bank._values(sample)[0]
    turned = (torch.from_numpy(plain) @ turn).numpy()
    return turn if _left_out(plain) > TURN_PAYS * _left_out(turned) else None


def _left_out(values: np.ndarray) -> float:
    error = np.empty(len(values))
    kernels.encode_rows(values, np.zeros(len(values)), np.empty(values.shape, dtype=np.int8), error)
    return float(error.mean())


@cache
def _rotation(d: int) -> torch.Tensor:
    """A random orthogonal matrix (d, d), always the same."""
    made = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    return torch.from_numpy(np.ascontiguousarray(made, dtype=np.float32))
