"""Ctrl-C ends an archive run after the unit at work: an exception in a library's callback would be lost."""

import signal
import threading
from typing import Any, Self

from ensemble.request import Say


class Interruption:
    """Listens for Ctrl-C while a run lasts; a second one stops at once."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> Self:
        """Listen, where signals can be listened to."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise KeyboardInterrupt when it was requested."""
        if self.requested:
            raise KeyboardInterrupt

    def _request(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.say("stopping after this unit; once more stops at once")
