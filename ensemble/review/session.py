"""What a running page works on: the results, the store, the marks, the recordings, and thresholds set in the page."""

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from ensemble.marks.apply import marked_rows
from ensemble.marks.file import FILE, Mark, Marks, read_marks
from ensemble.page.items import Item, items
from ensemble.page.scored import Scored
from ensemble.review.undoable import Undoable
from featstore.store import FeatureStore


class Session:
    """One page. store, results: folders. data: folder of the recordings, None where there is none. who: its user.

    undoable: the marks made in it that can be taken back. Methods may be called from several threads.
    """

    def __init__(self, store: Path, results: Path, scored: Scored, *, data: Path | None = None, who: str = "") -> None:
        self.path = store
        self.results = results
        self.data = data
        self.who = who
        self.lock = threading.RLock()
        self.undoable = Undoable()
        self._scored = scored
        self._items: list[Item] | None = None
        self._marks: tuple[object, Marks, Mapping[int, Mark]] | None = None

    @property
    def scored(self) -> Scored:
        """The results, decided by the thresholds that were saved in the page."""
        return self._scored

    def decide(self, scored: Scored) -> None:
        """Show other decisions on the same scores from now on."""
        with self.lock:
            self._scored, self._items = scored, None

    @property
    def items(self) -> list[Item]:
        """All items of the results, see `ensemble.page.items`."""
        with self.lock:
            if self._items is None:
                self._items = items(self._scored)
            return self._items

    @cached_property
    def store(self) -> FeatureStore:
        """The store, without marks; opened when it is first asked for."""
        with self.lock:
            return FeatureStore.open(self.path)

    @property
    def marks(self) -> Marks:
        """All marks of the store, read again where the file has changed."""
        return self._current()[0]

    @property
    def marked(self) -> Mapping[int, Mark]:
        """The mark that counts, by row of the scored clips."""
        return self._current()[1]

    def _current(self) -> tuple[Marks, Mapping[int, Mark]]:
        try:
            info = (self.path / FILE).lstat()
            state: object = (info.st_ino, info.st_size, info.st_mtime_ns)
        except OSError:
            state = None
        with self.lock:
            if self._marks is None or self._marks[0] != state:
                marks = read_marks(self.path)
                self._marks = (state, marks, marked_rows(marks.items, self._scored.clips))
            return self._marks[1], self._marks[2]
