"""Which rows of an embedding a map shows: scored clips, training clips and generated anomalies."""

from dataclasses import dataclass

import numpy as np

from ensemble.page.scored import Scored
from ensemble.review.session import Session
from featstore.table import ClipTable

SCORED, TRAINING, GENERATED = 0, 1, 2
ROLES = ("scored", "training", "generated")


@dataclass(frozen=True, eq=False)
class Population:
    """The rows of a map. Arrays are (n,): number in the embedding, role, and row in the results or -1."""

    clips: ClipTable
    number: np.ndarray
    role: np.ndarray
    scored: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    @property
    def strata(self) -> np.ndarray:
        """Number (n,) of the machine, section, domain and role of every row."""
        stratum = self.role.astype(np.int64)
        for name in ("machine", "section", "domain"):
            codes = np.unique(self.clips.columns[name], return_inverse=True)[1]
            stratum = np.unique(stratum * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1]
        return stratum

    def only(self, which: np.ndarray) -> "Population":
        """A part of it by a mask or by numbers."""
        return Population(self.clips[which], self.number[which], self.role[which], self.scored[which])


def population(clips: ClipTable, scored: Scored) -> Population:
    """The rows of an embedding that results are about, and the anomalies generated from them.

    Clips that are neither scored nor training clips, such as those of machines left out, are not among them.
    """
    place = {key: row for row, key in enumerate(scored.keys)}
    training = set(scored.train.keys())
    generated = ~clips.where(variant="")
    recordings = set(scored.clips.recordings()) | set(scored.train.recordings())
    sources = np.fromiter((path in recordings for path in clips.recordings()), dtype=bool, count=len(clips))
    keys = clips.keys()
    row = np.fromiter((place.get(key, -1) for key in keys), dtype=np.int64, count=len(clips))
    trains = np.fromiter((key in training for key in keys), dtype=bool, count=len(clips))
    role = np.select([row >= 0, trains, generated & sources], [SCORED, TRAINING, GENERATED], -1).astype(np.int8)
    shown = np.flatnonzero(role >= 0)
    return Population(clips[shown], shown, role[shown], row[shown])


def item_rows(session: Session) -> list[int]:
    """For every row of the results, the row that names its item: that of an event for all its windows."""
    rows = list(range(len(session.scored.clips)))
    for peak, of_event in session.items.events.items():
        for row in of_event:
            rows[row] = peak
    return rows
