"""Equal rows of a bank: an index holds the first of each, a search finds all of them."""

from dataclasses import dataclass

import numpy as np

from detectors.search.shortlist import TILE


@dataclass(frozen=True, eq=False)
class Copies:
    """Row ids (n,) with equal rows side by side, rising; where each of the distinct rows starts, and its number."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Copies":
        """Equal rows of a finite matrix (n, d)."""
        label = _labels(rows)
        order = np.argsort(label, kind="stable")
        start = np.flatnonzero(np.diff(label[order], prepend=label[order[:1]] + np.uint64(1)))
        start = start[np.argsort(order[start])]  # distinct rows in the order in which they come
        edges = np.sort(start)
        count = np.diff(edges, append=len(order))[np.searchsorted(edges, start)]
        return cls(order, start, count)

    @property
    def first(self) -> np.ndarray:
        """Row ids (distinct,) of the first of each, rising."""
        return np.asarray(self.order[self.start])

    def where(self, mask: np.ndarray) -> "Copies":
        """The distinct rows that the mask (distinct,) keeps."""
        return Copies(self.order, self.start[mask], self.count[mask])

    def all_of(self, distinct: np.ndarray, at_most: int) -> tuple[np.ndarray, np.ndarray]:
        """Row ids of the first `at_most` copies of some distinct rows, and which of them each is a copy of."""
        count = np.minimum(self.count[distinct], at_most)
        which = np.repeat(np.arange(len(distinct)), count)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        return self.order[self.start[distinct][which] + offset], which


def _labels(rows: np.ndarray) -> np.ndarray:
    """A number for every row, equal for equal rows only; sorting the rows themselves takes ten times as long."""
    factor = np.random.default_rng(0).integers(0, 2**63, rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    label = np.empty(len(rows), dtype=np.uint64)
    for i in range(0, len(rows), TILE):
        tile = np.ascontiguousarray(rows[i : i + TILE]) + rows.dtype.type(0)  # makes -0 to 0
        label[i : i + TILE] = (tile.view(f"u{rows.itemsize}") * factor).sum(axis=1, dtype=np.uint64)
    first = np.unique(label, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[1][first[2]] != np.arange(len(rows)))
    for i in range(0, len(again), TILE):
        part = again[i : i + TILE]
        if not np.array_equal(rows[part], rows[first[1][first[2][part]]]):  # two rows met by chance
            return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.uint64)
    return label
