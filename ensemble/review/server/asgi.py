"""The interface between a server and its application (ASGI): its types, headers of a request, and refusals."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ensemble.page.html import render
from featstore.terminal.shown import printable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")
"""Ends the connection after an answer: the rest of a refused body is not read."""


@dataclass(frozen=True)
class Refusal:
    """An answer to a request that is not served. text: what is wrong and what to do."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header, by its name in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def error_body(text: str) -> bytes:
    """The body of an error as the scripts of the page read it."""
    return json.dumps({"error": printable(text)}).encode()


async def answer(send: Send, status: int, body: bytes, kind: str, headers: Headers = ()) -> None:
    """Send a whole answer. kind: its media type."""
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(b"content-type", kind.encode()), length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer with a refusal, as a page to a person and as JSON to a script, and end the connection."""
    headers = [CLOSE, *refusal.headers]
    if any("text/html" in value for value in values(scope, b"accept")):
        title = HTTPStatus(refusal.status).phrase
        page = render("refused.html", title=title, text=refusal.text).encode()
        await answer(send, refusal.status, page, "text/html; charset=utf-8", headers)
    else:
        await answer(send, refusal.status, error_body(refusal.text), "application/json", headers)
