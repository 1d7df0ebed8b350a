"""What a request asks for: bounded bodies, JSON objects, and answers that say what is wrong."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from featstore.errors import AsdError, DataError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Handler = Callable[["Request", bytes], "Response"]


def refused(message: str, status: int = 400) -> "Response":
    """An error as the page's scripts read it."""
    from starlette.responses import JSONResponse

    return JSONResponse({"error": printed(message)}, status_code=status)


def printed(text: str) -> str:
    """A text that JSON and UTF-8 can hold: the bytes of file names that are no text become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def posted(handler: Handler, limit: int) -> Callable[["Request"], Any]:
    """An address that reads a body of at most `limit` bytes and answers in a thread; errors are told, not raised."""

    async def endpoint(request: "Request") -> "Response":
        from starlette.concurrency import run_in_threadpool

        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return refused(f"more than {limit:,} bytes were sent", 413)
        return await run_in_threadpool(told, handler, request, bytes(body))

    return endpoint


def told(handler: Callable[..., "Response"], *arguments: Any) -> "Response":
    """The answer of a handler; an error of the project as one that the page shows."""
    try:
        return handler(*arguments)
    except AsdError as error:
        return refused(str(error))


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds; DataError for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError("the request is not JSON") from error
    if not isinstance(value, dict):
        raise DataError("the request is not a JSON object")
    return value


def text_of(value: Any, name: str) -> str:
    """A value that must be a text; DataError names it."""
    if not isinstance(value, str):
        raise DataError(f"{name} must be a text")
    return value
