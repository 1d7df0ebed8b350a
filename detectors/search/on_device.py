"""Exact nearest neighbours with products on a device: it lists the likeliest rows, the processor measures them.

The bank lies on the device in float32; products take TF32 on CUDA. A list is complete where the least product on it
says, by more than products can be off, that whatever is missing is farther than the k nearest that were measured.
Queries whose list may have ended too early are searched by tiles. So distances and ids are those of the processor, to
the bit.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from detectors.search import kernels
from detectors.search.quantised import Queries, TiledBank, checked
from detectors.search.streamed import PART, Nearest

SPARE = 8
"""Rows listed beyond those that are asked for: one may be excluded, and some lie within what products are off by."""

QUERIES, COLUMNS = 2**13, 2**16
"""Queries and bank rows whose products are on the device at a time: 2 GB."""


class DeviceBank:
    """Float32 rows (n, d), known by `ids` as in `TiledBank.of`, on a torch device."""

    def __init__(self, rows: np.ndarray, ids: np.ndarray | None = None, *, device: str = "cuda") -> None:
        self.bank = TiledBank.of(rows, ids, coded=False)
        tiles = self.bank.tiles
        held = [tile.weights.T[: len(tile.rows[2])] for tile in tiles]
        self.device, self.tf32 = device, device.startswith("cuda")
        self.weights = torch.cat(held).to(device) if held else torch.empty((0, self.bank.d), device=device)
        self.offsets = torch.cat([torch.from_numpy(tile.codes[0][: len(tile.rows[2])]) for tile in tiles]).to(device)
        self.rows = tuple(np.concatenate([tile.rows[i] for tile in tiles]) for i in range(3))
        self.length = max(tile.codes[2] for tile in tiles)
        self.error = max(tile.codes[3] for tile in tiles) + self._lost(self.length)

    def improve(self, lists: Nearest, queries: np.ndarray, exclude: np.ndarray, threads: int = 1) -> None:
        """Bring lists up to date with the bank; as `Nearest.take`."""
        queries, exclude = checked(queries, "queries"), np.asarray(exclude, dtype=np.int64)
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            some = Nearest(lists.distance[part], lists.id[part])
            short = self._take(some, self.bank.encode(queries[part]), exclude[part], threads)
            if len(short):
                rest = Nearest(some.distance[short], some.id[short])
                rest.take(queries[part][short], self.bank, exclude=exclude[part][short], threads=threads)
                some.distance[short], some.id[short] = rest.distance, rest.id

    def _take(self, lists: Nearest, queries: Queries, exclude: np.ndarray, threads: int) -> np.ndarray:
        """Measure what the device lists; the queries whose lists may have ended too early, untouched."""
        length = min(lists.id.shape[1] + SPARE, self.bank.n)
        values, columns = self._largest(queries.factors, length)
        best = (lists.distance.copy(), lists.id.copy())

        def measure(start: int) -> None:
            at = slice(start, start + PART)
            kernels.take_lists(
                columns[at],
                self.rows,
                (queries.units[at], queries.units32[at]),
                exclude[at],
                (best[0][at], best[1][at]),
            )

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(measure, range(0, len(columns), PART)):
                pass
        error = queries.facts[1] + self._lost(queries.length)
        size = queries.length + error + self.length + self.error
        slack = error * self.length + (queries.length + error) * self.error + kernels.ROUNDING * size**2 + kernels.LEAST
        complete = queries.facts[3] - values[:, -1] - slack > best[0][:, -1]
        complete |= length == self.bank.n
        complete &= queries.units.any(axis=1)
        lists.distance[complete], lists.id[complete] = best[0][complete], best[1][complete]
        return np.flatnonzero(~complete)

    def _largest(self, factors: torch.Tensor, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Products plus offsets (m, length), falling, and their columns."""
        left = factors.to(self.device)
        values = left.new_empty((len(left), 0))
        columns = torch.empty((len(left), 0), dtype=torch.int64, device=self.device)
        with self._precision():
            for start in range(0, len(self.weights), COLUMNS):
                part = slice(start, start + COLUMNS)
                products = torch.addmm(self.offsets[part], left, self.weights[part].T)
                top, at = torch.topk(products, min(length, products.shape[1]), dim=1)
                values, columns = torch.cat([values, top], dim=1), torch.cat([columns, at + start], dim=1)
                values, order = torch.topk(values, min(length, values.shape[1]), dim=1)
                columns = columns.gather(1, order)
        return values.double().cpu().numpy(), columns.cpu().numpy()

    def _lost(self, length: Any) -> Any:
        """Length of what TF32 cuts off rows: it keeps eleven bits, and may not round."""
        return length * (2.0**-10 if self.tf32 else 0.0)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
