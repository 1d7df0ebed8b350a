"""A bounded buffer between the thread that reads a stream and the loop that scores it."""

import threading
from collections import deque

import numpy as np

from ensemble.watching.pcm import Pcm


class Feed:
    """Waves of a stream in order, at most `limit` samples of them.

    Nothing is dropped: while the buffer is full the reader waits, and then the writer of the pipe.
    received: samples read so far. held: samples in the buffer. full: how often the reader had to wait.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.received, self.held, self.full = limit, 0, 0, 0
        self._waves: deque[np.ndarray] = deque()
        self._is_over = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def start(self, pcm: Pcm) -> None:
        """Read `pcm` to its end in a thread."""
        threading.Thread(target=self._read, args=(pcm,), name="stream-reader", daemon=True).start()

    def put(self, wave: np.ndarray) -> None:
        """Add a wave; waits while the buffer is full."""
        with self._changed:
            if self.held >= self.limit:
                self.full += 1
                self._changed.wait_for(lambda: self.held < self.limit)
            self._waves.append(wave)
            self.held += len(wave)
            self.received += len(wave)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """Mark the end of the stream; `error` is raised by `get`."""
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def get(self, timeout_s: float) -> np.ndarray | None:
        """The oldest wave; an empty one if none arrived in time, None at the end. Raises the error of the reader."""
        with self._changed:
            self._changed.wait_for(lambda: self._waves or self._is_over, timeout_s)
            if self._waves:
                wave = self._waves.popleft()
                self.held -= len(wave)
                self._changed.notify_all()
                return wave
            if self._error is not None:
                raise self._error
            return None if self._is_over else np.empty(0, np.float32)

    def _read(self, pcm: Pcm) -> None:
        try:
            for wave in pcm.waves():
                self.put(wave)
            self.end()
        except Exception as error:  # the loop raises it
            self.end(error)
