"""The statistics of normal sound, which a large store takes long to give: made once, in a thread of their own."""

import threading
from collections.abc import Callable

from ensemble.deviation.locate import Locator
from featstore.errors import DataError, reason_of


class Locating:
    """A locator that is made when it is first asked for. make: gives it, or None and the reason why there is none."""

    def __init__(self, make: Callable[[], tuple[Locator | None, str]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._made: tuple[Locator | None, str] | None = None

    def get(self, wait_s: float = 0.0) -> Locator | None:
        """The locator; None while it is being made. DataError with the reason where there is none.

        wait_s: how long to wait for it at most.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="locator", daemon=True)
                self._thread.start()
        self._thread.join(wait_s)
        if self._made is None:
            return None
        locator, reason = self._made
        if locator is None:
            raise DataError(reason)
        return locator

    def _run(self) -> None:
        try:
            self._made = self._make()
        except Exception as error:  # whatever it is, those who ask must not wait for ever
            self._made = None, reason_of(error)
