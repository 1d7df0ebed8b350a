"""The maps of a session's views; every projection is computed once and kept."""

import threading
from dataclasses import dataclass

import numpy as np

from ensemble.marks.apply import marked_rows
from ensemble.marks.file import Mark
from ensemble.review import projection
from ensemble.review.asked import Busy
from ensemble.review.projection import MOST, PCA, Projection
from ensemble.review.session import Session
from ensemble.review.space.background import Computation, outcome
from ensemble.review.space.kept import Kept
from ensemble.review.space.population import GENERATED, Population, population
from ensemble.review.space.views import Views
from featstore.errors import DataError

KEPT = 8
"""Most projections of a kind in memory."""


@dataclass(frozen=True, eq=False)
class Map:
    """A projection and the rows of it that are shown: rows `shown` of `people` at `points` float32 (m, 2).

    people: all rows that could be shown. marked: marks by row of `people`. missing: reported and marked clips that are
    not shown. explained: as in `Projection`.
    """

    people: Population
    shown: np.ndarray
    points: np.ndarray
    explained: tuple[float, float] | None
    marked: dict[int, Mark]
    missing: int


class Maps:
    """Maps of views whose names are checked. Methods may be called from several threads."""

    def __init__(self, session: Session, views: Views) -> None:
        self._session, self._views = session, views
        self._people: Kept[Population] = Kept(KEPT)
        self._pca: Kept[Projection] = Kept(KEPT)
        self._umap: Kept[tuple[np.ndarray, Computation]] = Kept(KEPT)
        self._lock = threading.Lock()

    def map(self, view: str, method: str, *, generated: bool) -> Map | int:
        """The map of a view; for UMAP, the seconds since its start while it is computed.

        DataError where there is nothing to show, where a projection fails, and for UMAP without its extra; Busy while
        another UMAP is computed.
        """
        everyone = self._population(view)
        part = np.flatnonzero(everyone.role != GENERATED) if not generated else np.arange(len(everyone))
        people = everyone.only(part)
        if not len(people):
            raise DataError(f"{view}: none of its rows belongs to a clip of the results, so there is nothing to show")
        marked = marked_rows(self._session.marks.items, people.clips)
        keep = (people.scored >= 0) & self._session.scored.decision[people.scored]
        keep[list(marked)] = True
        if method == PCA:
            whole = self._pca.get(view, lambda: self._fitted(view, everyone))
            shown = projection.chosen(people.strata, keep, MOST)
            points, explained = whole.points[part[shown]], whole.explained
        else:
            shown, computation = self._started(view, people, keep, generated=generated)
            try:
                result = outcome(computation)
            except DataError:
                self._umap.drop((view, generated))  # the next request tries again
                raise
            if result is None:
                return computation.seconds
            points, explained = result, None
        return Map(people, shown, points, explained, marked, int(keep.sum() - keep[shown].sum()))

    def _population(self, view: str) -> Population:
        name = self._views.embedding(view)
        return self._people.get(name, lambda: population(self._session.store.clips(name), self._session.scored))

    def _fitted(self, view: str, everyone: Population) -> Projection:
        """All rows by PCA; generated anomalies are placed and do not turn the axes."""
        X = self._views.rows(view).matrix[everyone.number]
        real = np.flatnonzero(everyone.role != GENERATED)
        strata = everyone.only(real).strata
        return projection.pca(X, real[projection.fit_rows(strata, X.shape[1])])

    def _started(
        self, view: str, people: Population, keep: np.ndarray, *, generated: bool
    ) -> tuple[np.ndarray, Computation]:
        """The rows of a UMAP and its computation, started now unless it has been; one runs at a time."""
        if not projection.has_umap():
            raise DataError(f"UMAP is not installed: {projection.INSTALL}")

        def start() -> tuple[np.ndarray, Computation]:
            with self._lock:
                if any(computation.is_running for _, computation in self._umap.values()):
                    raise Busy("another UMAP is being computed; try again when it is done")
                shown = projection.chosen(people.strata, keep, MOST)
                X = self._views.rows(view).matrix[people.number[shown]]
                return shown, Computation(projection.umap_points, X)

        return self._umap.get((view, generated), start)
