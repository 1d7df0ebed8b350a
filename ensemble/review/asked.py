"""What a request asks for: the values of its address and its body. Errors say what was expected and what came."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from featstore.errors import AsdError, OptionError
from featstore.spec import unknown

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST_FIELDS = 50
"""Most values of an address."""

SHOWN = 200
"""Most characters of a value that an error repeats."""


class TooLarge(AsdError):
    """Raised when a body has more bytes than its address takes."""


class Busy(AsdError):
    """Raised when the answer needs work that cannot be done now; the same request may succeed in a few seconds."""


def query_of(request: "Request") -> dict[str, str]:
    """The values of an address that are not empty; bytes that are not UTF-8 become surrogates, as in names of files."""
    text = request.scope["query_string"].decode("utf-8", "surrogateescape")
    try:
        return dict(parse_qsl(text, errors="surrogateescape", max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise OptionError(f"an address has at most {MOST_FIELDS} values") from error


def whole(text: str) -> int | None:
    """A whole number from 0 to 999,999,999; None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def number_in(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number of an address; OptionError unless it is from low to high."""
    text = query.get(name, "")
    value = whole(text) if text else default
    if value is None or not low <= value <= high:
        raise OptionError(f"{name}: expected a whole number from {low:,} to {high:,}, got {text[:SHOWN]!r}")
    return value


def real_in(query: Mapping[str, str], name: str) -> float:
    """A finite number of an address; OptionError for anything else."""
    text = query.get(name, "")
    try:
        return real_of(float(text), name)
    except (ValueError, OptionError) as error:
        raise OptionError(f"{name}: expected a finite number, got {text[:SHOWN]!r}") from error


def choice_in(query: Mapping[str, str], name: str, choices: Iterable[str], default: str = "") -> str:
    """A choice of an address; OptionError for an unknown one, with the most similar name."""
    text, known = query.get(name, "") or default, list(choices)
    if text != default and text not in known:
        raise OptionError(unknown(name, text[:SHOWN], known))
    return text


def text_of(value: Any, name: str) -> str:
    """A value of JSON that must be a text."""
    if not isinstance(value, str):
        raise OptionError(f"{name}: expected a text, got {json_type(value)}")
    return value


def whole_of(value: Any, name: str) -> int:
    """A value of JSON that must be a whole number."""
    if type(value) is not int:
        raise OptionError(f"{name}: expected a whole number, got {json_type(value)}")
    return value


def real_of(value: Any, name: str) -> float:
    """A value of JSON that must be a finite number."""
    if type(value) not in (int, float):
        raise OptionError(f"{name}: expected a number, got {json_type(value)}")
    try:
        number = float(value)
    except OverflowError:  # a whole number has no bound
        number = float("inf")
    if not isfinite(number):
        raise OptionError(f"{name}: expected a finite number")
    return number


def json_type(value: Any) -> str:
    """What a value of JSON is, in the words of JSON."""
    kinds = {str: "a text", bool: "true or false", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OptionError("the body of the request is not JSON") from error
    if not isinstance(value, dict):
        raise OptionError(f"expected a JSON object as the body of the request, got {json_type(value)}")
    return value


async def blocks(request: "Request", most: int, advice: str = "") -> AsyncIterator[bytes]:
    """A body, piece by piece. TooLarge above `most` bytes, before anything is read where the request states its length.

    advice: what to do then.
    """
    too_large = TooLarge(f"more than {most:,} bytes were sent, which is the limit here{advice and f'; {advice}'}")
    if (whole(request.headers.get("content-length", "")) or 0) > most:
        raise too_large
    size = 0
    async for block in request.stream():
        size += len(block)
        if size > most:
            raise too_large
        yield block


def posted(handler: Callable[["Request", bytes], "Response"], most: int) -> Callable[["Request"], Any]:
    """An address that reads a body of at most `most` bytes and answers in a thread."""

    async def endpoint(request: "Request") -> "Response":
        from starlette.concurrency import run_in_threadpool

        body = b"".join([block async for block in blocks(request, most)])
        return await run_in_threadpool(handler, request, body)

    return endpoint
