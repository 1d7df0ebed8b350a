"""What a running page works on: the results, the store, the marks, the recordings, and thresholds set in the page."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ensemble.marks.apply import marked_rows
from ensemble.marks.file import FILE, Mark, Marks, read_marks
from ensemble.page.items import Items, items
from ensemble.page.kept import FILE as RESULTS_FILE
from ensemble.page.scored import Scored
from ensemble.review.undoable import Undoable
from featstore.clip import recording_of
from featstore.store import FeatureStore


class Session:
    """One page. store, results: folders. data: folder of the recordings, None where there is none. who: its user.

    undoable: the marks made in it that can be taken back. notes: what the user should know of how it was opened.
    opened: the store, where it is open already. Methods may be called from several threads.
    """

    def __init__(
        self,
        store: Path,
        results: Path,
        scored: Scored,
        *,
        data: Path | None = None,
        who: str = "",
        notes: Sequence[str] = (),
        opened: FeatureStore | None = None,
    ) -> None:
        self.path = store
        self.results = results
        self.data = data
        self.who = who
        self.notes = tuple(notes)
        self.lock = threading.RLock()
        self.undoable = Undoable()
        self._opening = threading.Lock()
        self._scored = scored
        self._items: Items | None = None
        self._store = opened
        self._stamp = self._results_stamp()
        self._marks: tuple[object, Marks, Mapping[int, Mark]] | None = None

    @property
    def replaced(self) -> str:
        """That another run has written the results since the page was opened, as a sentence; empty where none has."""
        if self._stamp == self._results_stamp():
            return ""
        return f"{self.results} holds the results of another run now: start `detect review` again to see them."

    def _results_stamp(self) -> tuple[int, int, int] | None:
        """Identity of the file of results; None where there is none."""
        try:
            info = (self.results / RESULTS_FILE).stat()
        except OSError:
            return None
        return info.st_ino, info.st_size, info.st_mtime_ns

    @property
    def scored(self) -> Scored:
        """The results, decided by the thresholds that were saved in the page."""
        return self._scored

    def decide(self, scored: Scored) -> None:
        """Show other decisions on the same scores from now on."""
        with self.lock:
            self._scored, self._items = scored, None

    @property
    def items(self) -> Items:
        """All items of the results, see `ensemble.page.items`."""
        with self.lock:
            if self._items is None:
                self._items = items(self._scored)
            return self._items

    @property
    def store(self) -> FeatureStore:
        """The store, without marks; opened once, when it is first asked for."""
        with self._opening:  # a lock of its own: opening a store does not stop the rest of the page
            if self._store is None:
                self._store = FeatureStore.open(self.path)
            return self._store

    @property
    def marks(self) -> Marks:
        """All marks of the store, read again where the file has changed."""
        return self._current()[0]

    @property
    def marked(self) -> Mapping[int, Mark]:
        """The mark that counts, by row of the scored clips."""
        return self._current()[1]

    def _current(self) -> tuple[Marks, Mapping[int, Mark]]:
        with self.lock:
            try:
                info = (self.path / FILE).lstat()
                state: object = (info.st_ino, info.st_size, info.st_mtime_ns)
            except OSError:
                state = None
            if self._marks is None or self._marks[0] != state:
                marks = read_marks(self.path)
                self._marks = (state, marks, marked_in(marks.items, self._scored))
            return self._marks[1], self._marks[2]


def marked_in(marks: Sequence[Mark], scored: Scored) -> dict[int, Mark]:
    """`marked_rows` of the scored clips; only clips of recordings that a mark names are looked at."""
    named = {recording_of(mark.clip) for mark in marks}
    if not named:
        return {}
    rows = np.array([row for row, name in enumerate(scored.recordings) if name in named], dtype=np.intp)
    places = rows.tolist()
    return {places[place]: mark for place, mark in marked_rows(marks, scored.clips[rows]).items()}
