"""Runs the page on 127.0.0.1 until it is told to end."""

import errno
import os
import socket
from collections.abc import Callable
from importlib.util import find_spec

from ensemble.review.server.app import application, protected
from ensemble.review.server.guard import Access
from ensemble.review.session import Session
from featstore.errors import DataError, RequestError, reason_of

HOST = "127.0.0.1"
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

    listener: of `bound`. ready: called with the address of the page, which holds its token, as soon as it answers.
    """
    from ensemble.review.server.connection import server

    access = Access.new(listener.getsockname()[1])
    running = server(protected(application(session), access), lambda: ready(access.address))
    running.run([listener])
