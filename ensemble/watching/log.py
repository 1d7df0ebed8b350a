"""The log of a watch: what happened, on stderr and in a file that rotates; and the signals that end it."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

from featstore.terminal.shown import printable

LOG_BYTES, LOG_FILES = 10_000_000, 5


@contextmanager
def open_log(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A function that logs one line with its time in UTC. path: a log file besides stderr; five older ones are kept."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"))
    layout = logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    layout.converter = time.gmtime
    logger = logging.Logger("watching")
    for handler in handlers:
        handler.setFormatter(layout)
        logger.addHandler(handler)
    try:
        yield lambda text: logger.info("%s", printable(text))
    finally:
        for handler in handlers:
            handler.close()


@contextmanager
def ended_by_signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call `stop` on SIGTERM or SIGINT; yields the numbers of the received signals. A second one ends at once."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        stop()
        if len(came) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
