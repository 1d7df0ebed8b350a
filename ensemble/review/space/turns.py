"""Turns for work that fills the machine: one at a time, a few wait, more are refused."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ensemble.review.asked import Busy


class Turns:
    """One turn at a time, and at most `waiting` others that have a place."""

    def __init__(self, waiting: int) -> None:
        self._places = threading.BoundedSemaphore(1 + waiting)
        self._turn = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for the block, without waiting; Busy where there is none."""
        if not self._places.acquire(blocking=False):
            raise Busy("several searches are running; try again in a few seconds")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The turn for the block, of one that has a place."""
        with self._turn:
            yield
