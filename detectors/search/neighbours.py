"""Exact nearest neighbours: the rows that float64 distances give, ties ordered by row, bit for bit on every route.

A search with little work is done by numpy (`plain`), any other by compiled loops and 8-bit codes (`streamed`), or on a
CUDA device (`on_device`). Each leaves few pairs, whose distances are computed in float64 by the same arithmetic.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from detectors.search.distance import check_rows, distance_named
from detectors.search.plain import PlainBank

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from detectors.search.on_device import DeviceBank
    from detectors.search.quantised import TiledBank

LITTLE, LITTLE_UNLOADED = 5e6, 4e9
"""Multiplications up to which numpy is faster than the compiled loops, and than importing them (seconds)."""

SMALL = 2**23
"""Largest bank, in values, for a search by numpy, which keeps it in float64 (64 MB)."""

THREADS_FROM = 1e8
"""Multiplications above which more than one thread is faster."""

DEVICE_FROM = 1e11
"""Multiplications above which a CUDA device saves more time than copying the bank to it takes."""

SAFE = 2.0**50
"""Largest value that float32 products may have; 2**500 is the largest whose squares float64 can add."""


class Bank:
    """Rows (n, d) for searches by a metric of `distance.DISTANCES`; each route prepares them when it first needs them.

    Prepared by `plain`, they take 8 bytes per value; by `streamed`, 5 for float32 and 9 for float64. `offset` (n,) is
    subtracted from the distances to each row, by cosine only; such a bank is always searched by `plain`.
    """

    def __init__(self, rows: np.ndarray, metric: str, offset: np.ndarray | None = None) -> None:
        self.rows, self.metric, self.distance, self.offset = rows, metric, distance_named(metric), offset
        self.scale = 1.0
        if not self.distance.directions:
            largest = float(np.abs(rows).max(initial=0.0))
            _check_size(largest, "bank")
            if largest > 0 and not 1 / SAFE < largest < SAFE:
                self.scale = float(2.0 ** -np.frexp(largest)[1])  # a power of two: exact

    @classmethod
    def of(cls, rows: np.ndarray, metric: str = "cosine", offset: np.ndarray | None = None) -> "Bank":
        """Check rows; ValueError for an empty bank, values that are not finite, or an unknown metric.

        Also unless an offset has one value of at most 2**50 per row, and the metric is the cosine distance.
        """
        rows = check_rows(rows, "bank")
        if not len(rows):
            raise ValueError("the bank is empty; check the section filter")
        if offset is not None:
            _check_offset(offset, len(rows), metric)
        return cls(rows, metric, offset)

    def __reduce__(self) -> tuple[type["Bank"], tuple[np.ndarray, str, np.ndarray | None]]:
        """A copy or pickle leaves out what the routes have prepared."""
        return Bank, (self.rows, self.metric, self.offset)

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the scale in which this bank is searched."""
        return rows if self.scale == 1 else rows * np.float64(self.scale)

    @cached_property
    def plain(self) -> PlainBank:
        """For `plain`."""
        return PlainBank(self.scaled(self.rows), self.distance, self.offset)

    @cached_property
    def tiled(self) -> "TiledBank":
        """For `streamed`."""
        from detectors.search.streamed import bank_of

        return bank_of(self.scaled(self.rows), metric=self.metric)

    @cached_property
    def device(self) -> "DeviceBank":
        """For `on_device`."""
        from detectors.search.on_device import DeviceBank

        return DeviceBank(self.scaled(self.rows), metric=self.metric)


def nearest(
    queries: np.ndarray,
    bank: np.ndarray | Bank,
    k: int,
    *,
    exclude: np.ndarray | None = None,
    metric: str = "cosine",
) -> tuple[np.ndarray, np.ndarray]:
    """Distance, float64 (m, k), rising, and row, int64 (m, k), of the k nearest bank rows of each query.

    The bank is a matrix (n, d), or a Bank, which has its own metric. The distance is the cosine distance, or half the
    squared Euclidean distance (`metric="euclidean"`). `exclude` (m,) is one row per query that the search skips
    (usually its own), or -1. A bank with offsets is searched by the distance minus the offset of the row. By cosine, a
    zero vector is at distance 0 from other zero vectors and at 2 from all other rows. ValueError for an empty bank,
    values that are not finite, or fewer than k rows.
    """
    bank = bank if isinstance(bank, Bank) else Bank.of(bank, metric)
    queries, exclude = check_search(queries, bank, k, exclude)
    if not len(queries):
        return np.zeros((0, k)), np.zeros((0, k), dtype=np.int64)
    queries = bank.scaled(queries)
    distance, row = _ROUTES[_route(queries, bank)](queries, bank, k, exclude)
    return distance if bank.scale == 1 else distance / bank.scale / bank.scale, row


def check_search(queries: np.ndarray, bank: Bank, k: int, exclude: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Queries and excluded rows as arrays; ValueError unless the bank can be searched for them."""
    queries = check_rows(queries, "queries")
    exclude = np.full(len(queries), -1) if exclude is None else np.asarray(exclude, dtype=np.int64)
    if k < 1 or exclude.shape != (len(queries),):
        raise ValueError(
            f"expected k >= 1 and one excluded row per query ({len(queries)}), got k={k} and exclude of shape "
            f"{exclude.shape}"
        )
    n, d = bank.rows.shape
    if queries.shape[1] != d:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, the bank has {d}")
    rows = n - int(((exclude >= 0) & (exclude < n)).any())
    if len(queries) and k > rows:
        raise ValueError(f"k={k}: the bank has only {rows} rows to find; lower k or check the section filter")
    if not bank.distance.directions:
        _check_size(float(np.abs(queries).max(initial=0.0)), "queries")
    return queries, exclude


def _check_offset(offset: np.ndarray, n: int, metric: str) -> None:
    if metric != "cosine" or offset.shape != (n,) or not (np.abs(offset) <= SAFE).all():
        raise ValueError(
            f"offset: expected a finite value of at most 2**50 for each of {n} rows, and metric=cosine; got shape "
            f"{offset.shape}, a largest value of {np.abs(offset).max(initial=0.0):.3g}, and metric={metric}"
        )


def _check_size(largest: float, what: str) -> None:
    if largest >= 2.0**500:
        raise ValueError(f"{what}: the largest value is {largest:.3g}; Euclidean distances need values below 3e150")


def _route(queries: np.ndarray, bank: Bank) -> str:
    """Name of the fastest route; numpy also for queries that float32 products cannot represent beside the bank."""
    work = len(queries) * bank.rows.size
    loaded = {"torch", "numba"} <= sys.modules.keys()
    far = not bank.distance.directions and float(np.abs(queries).max()) >= SAFE
    if far or bank.offset is not None or (work <= (LITTLE if loaded else LITTLE_UNLOADED) and bank.rows.size <= SMALL):
        return "plain"
    if work > DEVICE_FROM:
        from detectors.search.products import has_gpu

        return "device" if has_gpu() else "tiled"
    return "tiled"


def _by_numpy(queries: np.ndarray, bank: Bank, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    plain, size = bank.plain, -(-len(queries) // _threads(queries, bank))
    parts = [slice(start, start + size) for start in range(0, len(queries), size)]
    # With threads of their own, small products are several times slower where another process uses the cores.
    with _pools().limit(limits=1, user_api="blas"):
        if len(parts) == 1:
            return plain.nearest(queries, k, exclude)
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(lambda part: plain.nearest(queries[part], k, exclude[part]), parts))
    distance, row = (np.concatenate(column) for column in zip(*found, strict=True))
    return distance, row


def _by_codes(queries: np.ndarray, bank: Bank, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from detectors.search.streamed import TopK

    top = TopK.empty(len(queries), k)
    top.update(queries, bank.tiled, exclude=exclude, threads=_threads(queries, bank))
    return top.distance, top.id


def _by_device(queries: np.ndarray, bank: Bank, k: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from detectors.search.streamed import TopK

    top = TopK.empty(len(queries), k)
    bank.device.update(top, queries, exclude, _threads(queries, bank))
    return top.distance, top.id


_ROUTES = {"plain": _by_numpy, "tiled": _by_codes, "device": _by_device}


@cache
def _pools() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _threads(queries: np.ndarray, bank: Bank) -> int:
    """Threads that share out the queries: those of numpy's BLAS, which are the cores or what the environment sets."""
    if len(queries) * bank.rows.size <= THREADS_FROM:
        return 1
    return max((pool["num_threads"] for pool in _pools().info() if pool["user_api"] == "blas"), default=1)
