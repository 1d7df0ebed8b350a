"""Runs the page on 127.0.0.1 until it is told to end."""

import errno
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ensemble.review.server.app import application, protected
from ensemble.review.server.guard import Access
from ensemble.review.session import Session
from featstore.console import note
from featstore.errors import DataError, RequestError, reason_of
from featstore.terminal.shown import counted
from featstore.terminal.terminated import EXIT_TERMINATED, Terminated

HOST = "127.0.0.1"
STOPPING_S = 1.0
"""Longest wait for threads that have nothing left to do."""

EXIT_INTERRUPTED = 130

NEEDED = ("starlette", "uvicorn", "h11", "anyio")


def check_installed() -> None:
    """Raise RequestError where a package of the extra `review` is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise RequestError(f'the page needs {", ".join(missing)}: pip install "featstore[review]"')


def bound(port: int) -> socket.socket:
    """A socket of this machine alone that does not listen yet. port: 0 takes a free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would take the port of another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there; end it, name another port, or leave out --port for a free one"
        else:
            reason = f"{reason_of(error)}; name another port, or leave out --port for a free one"
        raise DataError(f"port {port} of {HOST}: {reason}") from error
    return listener


def serve(session: Session, listener: socket.socket, *, ready: Callable[[str], None]) -> None:
    """Serve a session until Ctrl-C (KeyboardInterrupt) or SIGTERM (Terminated).

    listener: of `bound`. ready: called with the address of the page, which holds its token, as soon as it answers. A
    route that still works then ends with the process, at once.
    """
    from ensemble.review.server.connection import server

    access = Access.new(listener.getsockname()[1])
    running = server(protected(application(session), access), lambda: ready(access.address))
    with _ended_with_threads():
        running.run([listener])


@contextmanager
def _ended_with_threads() -> Iterator[None]:
    """After a signal in the block, end the process where a thread that began in it still works.

    Such a thread cannot be stopped, and the interpreter would wait for it. Acknowledged marks are on disk.
    """
    before = set(threading.enumerate())
    try:
        yield
    except KeyboardInterrupt as error:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C
        try:
            end = time.monotonic() + STOPPING_S
            threads = [each for each in threading.enumerate() if each not in before and not each.daemon]
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
            if working := sum(thread.is_alive() for thread in threads):
                _leave(EXIT_TERMINATED if isinstance(error, Terminated) else EXIT_INTERRUPTED, working)
        finally:
            signal.signal(signal.SIGINT, handler)
        raise


def _leave(code: int, working: int) -> None:
    """End this process and its children at once, with so many requests unfinished."""
    for child in multiprocessing.active_children():
        child.kill()
    what = "stopped by SIGTERM" if code == EXIT_TERMINATED else "interrupted"
    note(f"{what}; {counted(working, 'request')} unfinished")
    os._exit(code)
