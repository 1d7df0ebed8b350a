"""Rows by the mean and deviation of their section, so that sections of a machine can be compared."""

from dataclasses import dataclass

import numpy as np

from ensemble.domains.stored import FLOAT, Stored, check

SPREAD_FLOOR = 1e-6
"""What varies by less, relative to its size, counts as constant."""


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Mean and deviation (s, k) of the bank clips of every section, in the columns (k,) that vary in any section.

    dimensions: of the rows. scale: 0 where a column does not vary in a section.
    """

    sections: tuple[str, ...]
    dimensions: int
    columns: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, section: np.ndarray) -> "Standardisation":
        """From bank rows (n, d) and their sections (n,)."""
        sections = np.unique(section)
        centre, scale = np.zeros((2, len(sections), X.shape[1]))
        for i, name in enumerate(sections):
            rows = X[section == name].astype(np.float64)
            centre[i], deviation = rows.mean(axis=0), rows.std(axis=0)
            scale[i] = np.where(deviation > SPREAD_FLOOR * np.abs(rows).max(axis=0), deviation, 0)
        columns = np.flatnonzero(scale.any(axis=0))
        return cls(tuple(sections.tolist()), X.shape[1], columns, centre[:, columns], scale[:, columns])

    def numbers(self, section: np.ndarray) -> np.ndarray:
        """Number (m,) of each clip's section; -1 for a section without bank clips."""
        of_name = {name: i for i, name in enumerate(self.sections)}
        return np.array([of_name.get(name, -1) for name in section.tolist()], dtype=np.intp)

    def applied(self, rows: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Standardised rows (m, k), from the kept columns of rows and the numbers of their sections; 0 for -1."""
        Z = np.zeros(rows.shape)
        for i in range(len(self.sections)):
            here = np.flatnonzero(number == i)
            if len(here):
                offset = rows[here] - self.centre[i]
                Z[here] = np.divide(offset, self.scale[i], out=np.zeros_like(offset), where=self.scale[i] > 0)
        return Z

    def of_rows(self, X: np.ndarray, section: np.ndarray) -> np.ndarray:
        """Standardised rows (m, k) of rows (m, d) in their sections (m,)."""
        return self.applied(X[:, self.columns], self.numbers(section))

    def arrays(self) -> dict[str, np.ndarray]:
        """What is stored beside the names of the sections."""
        return {"columns": self.columns, "centre": self.centre, "scale": self.scale}

    @classmethod
    def from_arrays(cls, stored: Stored, sections: tuple[str, ...], dimensions: int) -> "Standardisation":
        """From stored arrays for rows of a number of dimensions; ValueError for what does not fit."""
        columns = stored.take("columns", ("int64",), (None,))
        in_order = (np.diff(columns) > 0).all() and not ((columns < 0) | (columns >= dimensions)).any()
        check(in_order, f"columns in order, from 0 to {dimensions - 1}")
        shape = (len(sections), len(columns))
        centre, scale = (stored.take(name, FLOAT, shape) for name in ("centre", "scale"))
        check((scale >= 0).all(), "scales of at least 0")
        return cls(sections, dimensions, columns, centre, scale)
