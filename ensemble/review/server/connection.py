"""The connections of the server: HTTP/1.1 by uvicorn and h11, with bounds that uvicorn does not have.

uvicorn waits without end for the head of a request and for a client that does not read, and it has no bound for open
connections alone. This module imports uvicorn; import it only where a server starts.
"""

import asyncio
from collections.abc import Callable
from socket import socket
from typing import cast

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from ensemble.review.server.asgi import CLOSE, App, error_body
from ensemble.review.server.guard import HEADERS, NO_STORE

CONNECTIONS = 256
"""Most open connections; a further one is closed at once."""

HEAD_BYTES = 64 << 10
"""Most bytes of a head that is not complete."""

HEAD_S = 10.0
"""Longest time for the head of a request."""

STALLED_S = 600.0
"""Longest wait for a client that does not read. A player that is paused waits too."""

CLOSING_S = 3
"""Seconds that running requests have at the end."""

THREADS = 8
"""Routes that work at the same time; others wait."""


class _Timer:
    """Ends a connection, unless it is stopped in time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._handle: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.Transport) -> None:
        """Start, unless it runs."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, transport.abort)

    def stop(self) -> None:
        """Stop, where it runs."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None


class Connection(H11Protocol):
    """A connection whose client has bounded time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, unless there are too many."""
        self._head, self._stalled = _Timer(HEAD_S), _Timer(STALLED_S)
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._head.start(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head.stop()
        self._stalled.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came; the time for a head runs from its first byte."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._head.start(self.transport)
        else:
            self._head.stop()

    def pause_writing(self) -> None:
        """Wait until the client has read."""
        super().pause_writing()
        self._stalled.start(self.transport)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._stalled.stop()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, where no other answer has begun, and close."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error_body(f"{msg} A head has at most {HEAD_BYTES:,} bytes.")
            length = (b"content-length", str(len(body)).encode())
            headers = [(b"content-type", b"application/json"), CLOSE, length, *HEADERS, NO_STORE]
            start = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (start, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Server(Server):
    """A server that says when it answers, and leaves no connection open."""

    def __init__(self, config: Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start to answer."""
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let running requests finish for CLOSING_S seconds, then end every connection."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # closes them


def server(app: App, ready: Callable[[], None]) -> Server:
    """A server of `app`; run it with a socket. ready: called when it answers."""
    config = Config(
        cast("type", app),
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=CLOSING_S,
    )
    return _Server(config, ready)
