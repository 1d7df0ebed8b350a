"""Bounds of what a request may cost: its address and headers, its body, the time it takes, and how many run at once."""

import asyncio
import time
from dataclasses import dataclass

from ensemble.review.server.asgi import CLOSE, App, Message, Receive, Refusal, Scope, Send, refuse, values

FILES = ("/search", "/verdicts/import")
"""Addresses whose body is a file; those below them too."""


@dataclass(frozen=True)
class Bounds:
    """The bounds. A file has both a larger body and more time."""

    target_bytes: int = 32 << 10  # address with its query: two paths of 4 kB, percent-encoded
    fields: int = 50  # names with values in an address
    head_bytes: int = 32 << 10  # all headers
    headers: int = 100
    body_bytes: int = 1 << 20
    file_bytes: int = 64 << 20
    body_s: float = 20.0
    file_s: float = 300.0
    idle_s: float = 10.0  # longest wait for the next piece of a body
    requests: int = 64  # at once
    files: int = 2  # at once


BOUNDS = Bounds()


class Limits:
    """Passes requests within the bounds on to `app`, whose error handling must answer Starlette's HTTPException."""

    def __init__(self, app: App, bounds: Bounds = BOUNDS) -> None:
        self.app = app
        self.bounds = bounds
        self._requests = 0
        self._files = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_file = _is_file(scope)
        refusal = oversize(scope, self.bounds) or self._busy(is_file)
        if refusal:
            await refuse(scope, send, refusal)
            return
        self._requests += 1
        self._files += is_file
        try:
            body = _Body(scope, receive, send, self.bounds)
            await self.app(scope, body.receive, body.send)
        finally:
            self._requests -= 1
            self._files -= is_file

    def _busy(self, is_file: bool) -> Refusal | None:
        if self._requests < self.bounds.requests and not (is_file and self._files >= self.bounds.files):
            return None
        return Refusal(503, "The server is busy; try again in a moment.", ((b"retry-after", b"1"),))


def oversize(scope: Scope, bounds: Bounds = BOUNDS) -> Refusal | None:
    """Why a request is refused before its body is read; None for one within the bounds."""
    target = len(scope["raw_path"]) + len(scope["query_string"])
    if target > bounds.target_bytes:
        return Refusal(414, f"The address has {target:,} bytes; the limit is {bounds.target_bytes:,}.")
    if scope["query_string"].count(b"&") >= bounds.fields:
        return Refusal(400, f"The address has more than {bounds.fields} values.")
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if len(scope["headers"]) > bounds.headers or size > bounds.head_bytes:
        return Refusal(431, f"The limit for headers is {bounds.headers}, with {bounds.head_bytes:,} bytes together.")
    length, limit = _declared(scope), _limit(scope, bounds)
    if not limit and (length or values(scope, b"transfer-encoding")):
        return Refusal(400, f"A {scope['method']} has no body.")
    return _too_large(limit) if length > limit else None


class _Body:
    """A request's body, counted and timed while it is read, and an answer that ends the connection of one not read."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bounds: Bounds) -> None:
        self._receive, self._send = receive, send
        self._limit = _limit(scope, bounds)
        self._idle_s = bounds.idle_s
        self._end = time.monotonic() + (bounds.file_s if _is_file(scope) else bounds.body_s)
        self._seen = 0
        self._whole = not (_declared(scope) or values(scope, b"transfer-encoding"))

    async def receive(self) -> Message:
        """The next piece of the body; an HTTPException where it is too large or too slow."""
        from starlette.exceptions import HTTPException

        if self._whole:
            return await self._receive()
        wait_s = min(self._idle_s, self._end - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(wait_s, 0.001))
        except TimeoutError as error:
            raise HTTPException(408, "The body came too slowly.") from error
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise HTTPException(413, _too_large(self._limit).text)
        self._whole = message["type"] == "http.disconnect" or not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer."""
        if message["type"] == "http.response.start" and not self._whole:
            message = {**message, "headers": [*message.get("headers", []), CLOSE]}
        await self._send(message)


def _is_file(scope: Scope) -> bool:
    path = scope["path"]
    return scope["method"] == "POST" and any(path == name or path.startswith(f"{name}/") for name in FILES)


def _limit(scope: Scope, bounds: Bounds) -> int:
    """Most bytes of a body; 0 where it has none."""
    if scope["method"] != "POST":
        return 0
    return bounds.file_bytes if _is_file(scope) else bounds.body_bytes


def _declared(scope: Scope) -> int:
    """The largest length that a request declares; h11 has refused what is not a number, and two that differ."""
    return max([int(value) for value in values(scope, b"content-length") if value.isdecimal()], default=0)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"The body is larger than {limit / (1 << 20):g} MiB, which is the limit here.")
