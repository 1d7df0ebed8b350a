"""SIGTERM as an interruption: a command that is told to end cleans up as after Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_TERMINATED = 143
"""128 + 15, as a shell reports a process that SIGTERM has ended."""


class Terminated(KeyboardInterrupt):
    """Raised in the main thread when SIGTERM comes."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises Terminated in the block, where nothing else handles it.

    Its default ends the process at once: worker processes, semaphores and temporary files are then left to others.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
