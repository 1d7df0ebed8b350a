"""Exact nearest neighbours with products on a device; distances are computed on the CPU.

The bank is on the device in float32; products use TF32 on CUDA. The device lists the rows with the largest products for
each query. A list is complete if its smallest product, even with the largest possible error, proves that all rows not
on it are farther than the k nearest rows on it. Queries with an incomplete list are searched by tiles on the CPU. So
distances and ids are bit-identical to those of the CPU.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from detectors.search import kernels
from detectors.search.distance import check_rows
from detectors.search.quantised import Queries, TiledBank
from detectors.search.streamed import PART, TopK

SPARE = 8
"""Rows on a list beyond k: one may be excluded, and others may be within the error of the products."""

QUERIES, COLUMNS = 2**13, 2**16
"""Queries and bank rows whose products are on the device at a time (2 GB)."""


class DeviceBank:
    """Rows (n, d) with ids as in `TiledBank.of`, on a torch device."""

    def __init__(
        self, rows: np.ndarray, ids: np.ndarray | None = None, *, metric: str = "cosine", device: str = "cuda"
    ) -> None:
        self.bank = TiledBank.of(rows, ids, coded=False, metric=metric)
        tiles = self.bank.tiles
        weights = [tile.weights.T[: len(tile.rows[2])] for tile in tiles]
        self.device, self.tf32 = device, device.startswith("cuda")
        self.weights = torch.cat(weights).to(device) if weights else torch.empty((0, self.bank.d), device=device)
        self.offsets = torch.cat([torch.from_numpy(tile.codes[0][: len(tile.rows[2])]) for tile in tiles]).to(device)
        self.rows = tuple(np.concatenate([tile.rows[i] for tile in tiles]) for i in range(3))
        self.length = max(tile.codes[2] for tile in tiles)
        self.error = max(tile.codes[3] for tile in tiles) + self._tf32_error(self.length)

    def update(self, top: TopK, queries: np.ndarray, exclude: np.ndarray, threads: int = 1) -> None:
        """Add the rows of the bank to the top k, as `TopK.update`."""
        queries, exclude = check_rows(queries, "queries"), np.asarray(exclude, dtype=np.int64)
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            of_part = TopK(top.distance[part], top.id[part])
            incomplete = self._update(of_part, self.bank.encode(queries[part]), exclude[part], threads)
            if len(incomplete):
                rest = TopK(of_part.distance[incomplete], of_part.id[incomplete])
                rest.update(queries[part][incomplete], self.bank, exclude=exclude[part][incomplete], threads=threads)
                of_part.distance[incomplete], of_part.id[incomplete] = rest.distance, rest.id

    def _update(self, top: TopK, queries: Queries, exclude: np.ndarray, threads: int) -> np.ndarray:
        """Update from the lists of the device; returns the queries with an incomplete list, which are not updated."""
        length = min(top.id.shape[1] + SPARE, self.bank.n)
        values, columns = self._largest(queries.factors, length)
        distance, ids = top.distance.copy(), top.id.copy()

        def measure(start: int) -> None:
            at = slice(start, start + PART)
            kernels.update_from_lists(
                columns[at],
                self.rows,
                (queries.units[at], queries.units32[at]),
                queries.terms[:, at],
                exclude[at],
                (distance[at], ids[at]),
            )

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(measure, range(0, len(columns), PART)):
                pass
        error = queries.terms[1] + self._tf32_error(queries.length)
        size = queries.length + error + self.length + self.error
        slack = error * self.length + (queries.length + error) * self.error
        slack = slack + kernels.ROUNDING * size**2 + kernels.UNDERFLOW
        complete = queries.terms[3] - values[:, -1] - slack > distance[:, -1]
        complete |= length == self.bank.n
        complete &= queries.terms[5] > 0  # not a zero query
        top.distance[complete], top.id[complete] = distance[complete], ids[complete]
        return np.flatnonzero(~complete)

    def _largest(self, factors: torch.Tensor, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Largest products plus offsets (m, length), falling, and their columns."""
        left = factors.to(self.device)
        values = left.new_empty((len(left), 0))
        columns = torch.empty((len(left), 0), dtype=torch.int64, device=self.device)
        with self._precision():
            for start in range(0, len(self.weights), COLUMNS):
                part = slice(start, start + COLUMNS)
                products = torch.addmm(self.offsets[part], left, self.weights[part].T)
                largest, at = torch.topk(products, min(length, products.shape[1]), dim=1)
                values, columns = torch.cat([values, largest], dim=1), torch.cat([columns, at + start], dim=1)
                values, order = torch.topk(values, min(length, values.shape[1]), dim=1)
                columns = columns.gather(1, order)
        return values.double().cpu().numpy(), columns.cpu().numpy()

    def _tf32_error(self, length: Any) -> Any:
        """Upper bound of the length that rows lose in TF32, which keeps eleven bits and may truncate."""
        return length * (2.0**-10 if self.tf32 else 0.0)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
