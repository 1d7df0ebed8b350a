"""A bank of rows as 8-bit codes, whose products are several times faster than those of float32, within error bounds.

Half the squared distance of two rows u, v is |a|^2 / 2 + |b|^2 / 2 - a.b for a = u - c, b = v - c and any centre c,
here the mean of the bank; for cosine distances, u and v have length 1. Codes p, q with scales s, t replace a and b,
with the coding errors e and f:

    |a.b - s t p.q|  <=  |e| |b| + |s p| |f|  <=  |e| |b| + (|a| + |e|) |f|        (Cauchy and Schwarz)

A row is skipped if its integer product shows that it is farther than k known rows, by more than the bound. The
distances of all other rows are computed in float64. The bound scales with the spread of the bank, so similar recordings
are separated as well as others. Where few dimensions hold most of the spread, a random rotation first spreads it evenly
over the codes. Rows are sorted by |b|. So the rows of a tile share a scale well, and whole tiles can be skipped: the
distance of two rows is at least the difference of their lengths.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from detectors.search import kernels
from detectors.search.distance import Distance, check_rows, distance_named
from detectors.search.products import float_product, has_gpu, int8_is_faster, int8_product

TILE = 1024
"""Bank rows per tile: their products with a few hundred queries stay in a second-level cache."""

CODE_DIMENSIONS = range(2, 2**31 // 127**2)
"""Numbers of dimensions for codes: products of more overflow 32 bits, and torch does not multiply those of 1."""

SAMPLE = 256
"""Bank rows from which the use of a rotation is estimated."""

ROTATE_FROM = 1.25
"""Factor by which a rotation must reduce the coding error, since the queries must be rotated too."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Some rows of a bank: `weights` (d, t) for products, and `codes` and `rows` for `kernels.update_from_tile`."""

    weights: torch.Tensor
    codes: tuple[np.ndarray, float, float, float]
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    shortest: float
    """Smallest distance of a row from the centre; `codes[2]` is the largest."""


@dataclass(frozen=True, eq=False)
class Queries:
    """Prepared queries in float64 and float32, as factors of products, and `terms` of `kernels.update_from_tile`."""

    units: np.ndarray
    units32: np.ndarray
    factors: torch.Tensor
    terms: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """Distance (m,) of each query from the centre of the bank."""
        return np.asarray(self.terms[2])

    def rows(self, at: np.ndarray) -> "Queries":
        """The queries at the positions `at`."""
        return Queries(self.units[at], self.units32[at], self.factors[torch.from_numpy(at)], self.terms[:, at])


@dataclass(frozen=True, eq=False)
class TiledBank:
    """Rows (n, d) prepared for searches; `coded`: products of 8-bit codes instead of float32.

    `longest` is the length of the longest prepared row.
    """

    n: int
    d: int
    coded: bool
    distance: Distance
    longest: float
    centre: np.ndarray
    rotation: torch.Tensor | None
    tiles: tuple[Tile, ...]

    @classmethod
    def of(cls, rows: np.ndarray, ids: np.ndarray | None = None, *, coded: bool, metric: str = "cosine") -> "TiledBank":
        """Prepare `rows`; ties go to the lowest of `ids` (int64, at least 0; by default the row numbers).

        `streamed.bank_of` chooses the faster value of `coded`. `metric` is one of `distance.DISTANCES`. ValueError for
        rows that are no matrix of finite values, or have a number of dimensions outside CODE_DIMENSIONS if `coded`.
        """
        rows, distance = check_rows(rows, "bank"), distance_named(metric)
        ids = np.arange(len(rows)) if ids is None else np.asarray(ids, dtype=np.int64)
        if ids.shape != (len(rows),) or (len(ids) and ids.min() < 0):
            raise ValueError(
                f"expected one id of at least 0 for each of {len(rows)} rows, got ids of shape {ids.shape}, "
                f"smallest {ids.min(initial=0)}"
            )
        centre, half, longest = _spread(rows, distance)
        if coded and rows.shape[1] not in CODE_DIMENSIONS:
            raise ValueError(
                f"codes need {CODE_DIMENSIONS.start} to {CODE_DIMENSIONS.stop - 1} dimensions, got {rows.shape[1]}"
            )
        plain = cls(len(rows), rows.shape[1], coded, distance, longest, centre, None, ())
        empty = replace(plain, rotation=_useful_rotation(plain, rows) if coded else None)
        order = np.argsort(half, kind="stable")
        rows, ids = rows[order], ids[order]
        parts = [slice(start, start + TILE) for start in range(0, len(order), TILE)]
        return replace(empty, tiles=tuple(empty._tile(rows[part], ids[part]) for part in parts))

    def encode(self, queries: np.ndarray) -> Queries:
        """Prepare queries (m, d) for products with this bank."""
        units, inverse = _prepared(queries, self.distance)
        values, terms = self._values(units)
        terms[4] = self._rounding(units)
        terms[5] = np.where(inverse == 0, 0.0, self.distance.farthest)
        factors: torch.Tensor = torch.from_numpy(values)
        if self.coded:
            codes, error = np.empty(values.shape, dtype=np.int8), np.empty(len(values))
            terms[0] = 0.0
            kernels.encode_rows(values, terms[0], codes, error)
            terms[1] += error
            factors = torch.from_numpy(codes)
        return Queries(units, units.astype(np.float32), factors, terms)

    def product(self) -> tuple[Callable[..., Any], torch.dtype]:
        """Function that multiplies tiles, and the type of its products."""
        return (int8_product, torch.int32) if self.coded else (float_product, torch.float32)

    @property
    def width(self) -> int:
        """Columns of the widest tile."""
        return max((tile.weights.shape[1] for tile in self.tiles), default=0)

    def gaps(self, shortest: float, longest: float) -> np.ndarray:
        """Lower bound (tiles,) of the distance of queries of lengths `shortest` to `longest` to the rows of a tile."""
        below = np.array([shortest - tile.codes[2] for tile in self.tiles])
        above = np.array([tile.shortest - longest for tile in self.tiles])
        rounding = (self.d + 16) * 2.0**-52 * (longest + max(tile.codes[2] for tile in self.tiles))
        return np.asarray(np.maximum(np.maximum(below, above) - rounding, 0.0))

    def _rounding(self, units: np.ndarray) -> np.ndarray:
        """Upper bound (m,) of what `kernels._lower_bound` may change a length by, for prepared queries."""
        length = 1.0 if self.distance.directions else np.sqrt(np.square(units).sum(axis=1))
        return np.asarray(2.0**-22 * (length + self.longest))

    def _values(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centred and rotated float32 rows, and their terms (6, n): scale 1, error, length, half the squared length."""
        values, terms = np.empty(units.shape, dtype=np.float32), np.ones((6, len(units)))
        kernels.centre_rows(units, self.centre, values, terms[3])
        terms[2] = np.sqrt(2.0 * terms[3])
        # Errors per length. Without codes, the error of the products is included.
        rounding = 2.0**-21 if self.coded else (2.5 * self.d + 16) * 2.0**-24
        if self.rotation is not None:
            values = (torch.from_numpy(values) @ self.rotation).numpy()
            rounding += np.sqrt(self.d) * (self.d + 4) * 2.0**-24
        terms[1] = rounding * terms[2]
        return values, terms

    def _tile(self, rows: np.ndarray, ids: np.ndarray) -> Tile:
        n, width = len(rows), -(-len(rows) // kernels.LANES) * kernels.LANES
        units, inverse = _prepared(rows, self.distance)
        values, terms = self._values(units)
        if rows.dtype != np.float32 and self.distance.directions:  # of which 1 / length may overflow
            rows, inverse = units, (inverse > 0).astype(np.float64)
        weights, scale = np.zeros((width, self.d), dtype=np.int8 if self.coded else np.float32), 1.0
        if self.coded:
            scale, error = max(float(np.abs(values).max()) / 127.0, 1e-30), np.empty(n)
            kernels.encode_rows(values, np.full(n, scale), weights[:n], error)
            terms[1] += error
        else:
            weights[:n] = values
        offsets = np.full(width, kernels.LOWEST, dtype=np.float32)
        offsets[:n] = -terms[3]
        codes = (offsets, scale, float(terms[2].max()), float(terms[1].max()))
        return Tile(torch.from_numpy(weights).T, codes, (rows, inverse, ids), float(terms[2].min()))


def bytes_per_row(d: int) -> int:
    """Bytes of memory per bank row: float32 and 8-bit codes, or twice float32, or three times with a GPU."""
    return 12 * d + 64 if has_gpu() else 5 * d + 32 if int8_is_faster() else 8 * d + 32


def _prepared(rows: np.ndarray, distance: Distance) -> tuple[np.ndarray, np.ndarray]:
    """Float64 rows as `distance.prepare` gives them, and `inverse` of `kernels.unit_rows`, or ones."""
    if not distance.directions:
        return distance.prepare(rows), np.ones(len(rows))
    units, inverse = np.empty(rows.shape), np.empty(len(rows))
    kernels.unit_rows(rows, units, inverse)
    return units, inverse


def _spread(rows: np.ndarray, distance: Distance) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (d,) of the prepared rows, half the squared distance (n,) of each from it, and the largest length of one."""
    parts = [slice(start, start + TILE) for start in range(0, len(rows), TILE)]
    centre, half, longest = np.zeros(rows.shape[1]), np.empty(len(rows)), 1.0
    for part in parts:
        units = _prepared(rows[part], distance)[0]
        centre += units.sum(axis=0)
        if not distance.directions:
            longest = max(longest, float(np.sqrt(np.square(units).sum(axis=1).max())))
    centre /= max(len(rows), 1)
    centred = np.empty((TILE, rows.shape[1]), dtype=np.float32)
    for part in parts:
        kernels.centre_rows(_prepared(rows[part], distance)[0], centre, centred, half[part])
    return centre, half, longest


def _useful_rotation(bank: TiledBank, rows: np.ndarray) -> torch.Tensor | None:
    """Rotation (d, d) if it is expected to reduce the coding error of a sample of the rows by ROTATE_FROM, else None.

    A rotated row is like a normal one, whose largest value is about sqrt(2 ln d) standard deviations.
    """
    if not len(rows):
        return None
    values, terms = bank._values(_prepared(rows[:: -(-len(rows) // SAMPLE)], bank.distance)[0])
    error = np.empty(len(values))
    kernels.encode_rows(values, np.zeros(len(values)), np.empty(values.shape, dtype=np.int8), error)
    rotated = terms[2] * np.sqrt(2 * np.log(bank.d) / 12) / 127
    return _rotation(bank.d) if error.mean() > ROTATE_FROM * rotated.mean() else None


@cache
def _rotation(d: int) -> torch.Tensor:
    """A random orthogonal matrix (d, d) from a fixed seed."""
    rotation = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    return torch.from_numpy(np.ascontiguousarray(rotation, dtype=np.float32))
