"""Errors of a route as answers: {"error": text} with a status, and a traceback to the terminal alone."""

import errno
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ensemble.review.asked import Busy, TooLarge
from ensemble.review.server.asgi import CLOSE, App, Message, Receive, Scope, Send, answer, error_body
from featstore.console import echo
from featstore.errors import (
    AsdError,
    DataError,
    IncompleteError,
    RejectedAudio,
    RequestError,
    ResourceError,
    StoreError,
)
from featstore.terminal.shown import block, one_line

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

STATUS: tuple[tuple[type[AsdError], int], ...] = (
    (RequestError, 404),
    (StoreError, 409),
    (IncompleteError, 409),
    (TooLarge, 413),
    (RejectedAudio, 422),
    (DataError, 422),
    (Busy, 503),
    (ResourceError, 507),
    (AsdError, 400),
)
"""Status of an error by its class; the first that fits counts. 400 is for values that an address or a body has."""

_PLAIN = {404: "There is nothing at this address.", 405: "This address does not take this method."}

LONGEST = 1000
"""Most characters of a message."""

RETRY_S = "2"

INTERNAL = "The server failed on this request. Its terminal shows the details."


def handlers() -> Mapping[Any, Callable[["Request", Any], "Response"]]:
    """The handlers for Starlette, by class of error."""
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    return {
        HTTPException: _refused,
        AsdError: _expected,
        OSError: _system,
        MemoryError: _memory,
        ClientDisconnect: _gone,
        Exception: _internal,
    }


class Reported:
    """Prints what `app` raises, and answers where the application has not."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception as error:
            lines = "".join(traceback.format_exception(error)).rstrip().split("\n")
            echo(block(f"error: {scope['method']} {scope['path']}", *lines), err=True)
            if not started:
                await answer(send, 500, error_body(INTERNAL), "application/json", [CLOSE])


def status_of(error: AsdError) -> int:
    """The status of an expected error."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def _answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> "Response":
    from starlette.responses import Response

    return Response(error_body(text), status, headers=headers, media_type="application/json")


def _refused(request: "Request", error: Any) -> "Response":
    text = error.detail
    if text == HTTPStatus(error.status_code).phrase:  # of the router, which has no words of its own
        text = _PLAIN.get(error.status_code, text)
    return _answer(error.status_code, text, error.headers)


def _expected(request: "Request", error: AsdError) -> "Response":
    headers = {"Retry-After": RETRY_S} if isinstance(error, Busy) else None
    return _answer(status_of(error), one_line(" ".join(error.lines), LONGEST), headers)


def _system(request: "Request", error: OSError) -> "Response":
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _answer(507, f"{error.filename or 'writing'}: {error.strerror}")
    raise error


def _memory(request: "Request", error: MemoryError) -> "Response":
    return _answer(507, "Out of memory; ask for less at once.")


def _gone(request: "Request", error: Exception) -> "Response":
    """For a client that has left; nobody reads it."""
    return _answer(400, "The connection was closed.")


def _internal(request: "Request", error: Exception) -> "Response":
    return _answer(500, INTERNAL)
