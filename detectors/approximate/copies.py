"""Equal rows of a bank: an index holds one of them, and a search returns all of them."""

from dataclasses import dataclass

import numpy as np

TILE = 1024
"""Rows that are hashed or compared at a time."""


@dataclass(frozen=True, eq=False)
class Copies:
    """Row ids (n,) grouped by equal rows; `start` and `count` (distinct,) locate the group of each distinct row.

    Ids rise within a group, and distinct rows are in the order of their first id.
    """

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Copies":
        """Group the equal rows of a finite matrix (n, d)."""
        label = _labels(rows)
        order = np.argsort(label, kind="stable")
        start = np.flatnonzero(np.diff(label[order], prepend=label[order[:1]] + np.uint64(1)))
        start = start[np.argsort(order[start])]
        edges = np.sort(start)
        count = np.diff(edges, append=len(order))[np.searchsorted(edges, start)]
        return cls(order, start, count)

    @property
    def first(self) -> np.ndarray:
        """Lowest row id (distinct,) of each distinct row, rising."""
        return np.asarray(self.order[self.start])

    def where(self, mask: np.ndarray) -> "Copies":
        """The distinct rows that a mask (distinct,) selects."""
        return Copies(self.order, self.start[mask], self.count[mask])

    def rows_of(self, distinct: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Row ids of the first `limit` copies of each entry of `distinct`, and the entry that each is a copy of."""
        count = np.minimum(self.count[distinct], limit)
        which = np.repeat(np.arange(len(distinct)), count)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        return self.order[self.start[distinct][which] + offset], which


def _labels(rows: np.ndarray) -> np.ndarray:
    """A number for every row, equal for equal rows only; sorting the rows instead takes ten times as long."""
    factor = np.random.default_rng(0).integers(0, 2**63, rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    label = np.empty(len(rows), dtype=np.uint64)
    for i in range(0, len(rows), TILE):
        tile = np.ascontiguousarray(rows[i : i + TILE]) + rows.dtype.type(0)  # turns -0 into 0
        label[i : i + TILE] = (tile.view(f"u{rows.itemsize}") * factor).sum(axis=1, dtype=np.uint64)
    _, index, inverse = np.unique(label, return_index=True, return_inverse=True)
    first = index[inverse]
    copies = np.flatnonzero(first != np.arange(len(rows)))
    for i in range(0, len(copies), TILE):
        part = copies[i : i + TILE]
        if not np.array_equal(rows[part], rows[first[part]]):  # two different rows have the same label
            return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.uint64)
    return label
