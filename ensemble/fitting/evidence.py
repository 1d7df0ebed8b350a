"""The most similar training clip of the same section, as evidence beside a decision."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.search.neighbours import Bank, nearest
from ensemble.inputs import banks_of
from ensemble.members import placed
from featstore.table import ClipTable


@dataclass(frozen=True, eq=False)
class Evidence:
    """Training clips of every section: their keys, and their rows prepared for a search by cosine distance."""

    pool_sections: bool
    banks: Mapping[tuple[str, str], tuple[list[str], Bank]]

    @classmethod
    def of(cls, X: np.ndarray, train: ClipTable, *, pool_sections: bool) -> "Evidence":
        """From the rows (n, d) of the training clips in one view."""
        keys = np.array(train.keys(), dtype=object)
        groups = placed(train, np.zeros(len(train)), pool_sections).groups()
        return cls(pool_sections, {group: (keys[rows].tolist(), Bank.of(X[rows])) for group, rows in groups})

    def nearest(self, X: np.ndarray, clips: ClipTable) -> tuple[list[str], np.ndarray]:
        """Key and cosine distance (m,) of the closest training clip of each clip's section."""
        keys, distances = [""] * len(clips), np.full(len(clips), np.nan)
        pairs = banks_of(clips, self.pool_sections)
        for group in sorted(set(pairs)):
            rows = np.flatnonzero([pair == group for pair in pairs])
            names, bank = self.banks[group]
            distance, index = nearest(X[rows], bank, 1)
            distances[rows] = distance[:, 0]
            for row, i in zip(rows, index[:, 0], strict=True):
                keys[row] = names[i]
        return keys, distances
