"""The clips that a posterior of domains is learned from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LEAST = 3
"""Training clips that each domain of a machine needs; with fewer there is no posterior."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips in columns (n,): machine, section, whether of the target domain, and how each takes part.

    bank: training clips of known domain. fold: a clip is judged by the bank clips of other folds.
    """

    machine: np.ndarray
    section: np.ndarray
    target: np.ndarray
    bank: np.ndarray
    fold: np.ndarray

    def of_machines(self) -> Iterable[np.ndarray]:
        """Rows of every machine whose domains both have LEAST training clips."""
        for machine in np.unique(self.machine):
            rows = np.flatnonzero(self.machine == machine)
            target = self.target[rows][self.bank[rows]]
            if min(np.count_nonzero(target), np.count_nonzero(~target)) >= LEAST:
                yield rows

    def part(self, rows: np.ndarray) -> "Clips":
        """Some of the clips."""
        columns = (self.machine, self.section, self.target, self.bank, self.fold)
        return Clips(*(column[rows] for column in columns))
