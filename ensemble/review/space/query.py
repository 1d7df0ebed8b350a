"""What a request asks for, and the errors of this project as answers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from featstore.errors import AsdError, DataError, RequestError
from featstore.spec import unknown
from featstore.terminal.shown import one_line

if TYPE_CHECKING:
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

FIELDS = 20
LONGEST = 1000
"""Most characters of a message."""


def refused(status: int, message: str) -> "HTTPException":
    """The answer to a request that is refused, with one line of text."""
    from starlette.exceptions import HTTPException

    return HTTPException(status, one_line(message, LONGEST))


def query_of(request: "Request") -> Mapping[str, str]:
    """The query of a request; bytes that are not UTF-8 become surrogates, as in the names of files."""
    text = request.scope["query_string"].decode("utf-8", "surrogateescape")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=FIELDS)
    except ValueError as error:
        raise refused(400, f"the query is refused: {error}") from error
    return dict(pairs)


def number_in(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number of a query, 400 unless it is from low to high."""
    text = query.get(name, "") or str(default)
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else low - 1
    if not low <= value <= high:
        raise refused(400, f"{name}: expected a whole number from {low:,} to {high:,}, got {text!r:.40}")
    return value


def choice_in(query: Mapping[str, str], name: str, choices: "list[str]", default: str) -> str:
    """A choice of a query; 400 for an unknown one, with the most similar name."""
    text = query.get(name, "") or default
    if text != default and text not in choices:
        raise refused(400, unknown(name, text[:200], choices))
    return text


@contextmanager
def answered() -> Iterator[None]:
    """Errors of the block as answers: 404 for an unknown name, 422 for unusable data, 500 for a damaged store."""
    try:
        yield
    except RequestError as error:
        raise refused(404, str(error)) from error
    except DataError as error:
        raise refused(422, str(error)) from error
    except AsdError as error:
        raise refused(500, str(error)) from error
