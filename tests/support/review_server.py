"""A running server of a page, and requests to it as a browser or an attacker sends them."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ensemble.review.server.asgi import App
from ensemble.review.server.connection import server
from ensemble.review.server.guard import Access
from ensemble.review.server.serve import bound

TIMEOUT_S = 20.0


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Running:
    """A server; requests carry the cookie of the page unless a test says otherwise."""

    access: Access
    sent: dict[str, int] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.access.port}"

    @property
    def cookie(self) -> str:
        return f"{self.access.cookie}={self.access.secret}"

    def headers(self, **changed: str | None) -> dict[str, str]:
        """Headers of a request of the page; `changed` by name with underscores, None leaves one out."""
        own = {"Host": f"127.0.0.1:{self.access.port}", "Cookie": self.cookie}
        given = {name.replace("_", "-").title(): value for name, value in changed.items()}
        return {name: value for name, value in {**own, **given}.items() if value is not None}

    def ask(self, method: str, path: str, body: bytes | None = None, **changed: str | None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.access.port, timeout=TIMEOUT_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers(**changed).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **changed: str | None) -> Answer:
        return self.ask("GET", path, **changed)

    def post(self, path: str, body: bytes = b"{}", **changed: str | None) -> Answer:
        own = {"origin": self.origin, "x_review": "1", "content_type": "application/json"}
        return self.ask("POST", path, body, **{**own, **changed})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.access.port), timeout=TIMEOUT_S)

    def raw(self, data: bytes) -> bytes:
        """All that the server answers to these bytes until it closes; it may close before it has read them."""
        with self.connect() as connection:
            parts = []
            try:
                connection.sendall(data)
                while part := connection.recv(65536):
                    parts.append(part)
            except ConnectionError:
                pass
            return b"".join(parts)

    def head(self, line: str, **changed: str | None) -> bytes:
        """A request line with headers, without the empty line at its end."""
        lines = [line, *(f"{name}: {value}" for name, value in self.headers(**changed).items())]
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


@contextmanager
def running(make: Callable[[Access], App]) -> Iterator[Running]:
    """A server in a thread until the end of the block."""
    with bound(0) as listener:
        access = Access.new(listener.getsockname()[1])
        answers = threading.Event()
        served = server(make(access), answers.set)
        thread = threading.Thread(target=lambda: asyncio.run(served.serve([listener])))
        thread.start()
        try:
            assert answers.wait(TIMEOUT_S)
            yield Running(access)
        finally:
            served.should_exit = True
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), "the server did not end"
