"""What a client is told of an error in a route, and what the terminal is told."""

import errno
import json
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from review_server import Running, running
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ensemble.review.asked import Busy, TooLarge
from ensemble.review.server.app import protected
from ensemble.review.server.failures import handlers
from featstore import errors
from featstore.errors import AsdError

ERRORS = {
    "data": (errors.DataError("a.wav: not \x1b[31m a WAV"), 422, "a.wav: not \\x1b[31m a WAV"),
    "base": (AsdError("of a plugin"), 400, "of a plugin"),
    "option": (errors.OptionError("both"), 400, "both"),
    "store": (errors.StoreError("locked"), 409, "locked"),
    "incomplete": (errors.IncompleteError("lacks"), 409, "lacks"),
    "request": (errors.RequestError("unknown clip"), 404, "unknown clip"),
    "audio": (errors.RejectedAudio("silent"), 422, "silent"),
    "large": (TooLarge("more than 10 bytes"), 413, "more than 10 bytes"),
    "busy": (Busy("again"), 503, "again"),
    "long": (errors.RequestError("x" * 5000), 404, f"{'x' * 999}…"),
    "resource": (errors.ResourceError("disk full"), 507, "disk full"),
    "full": (OSError(errno.ENOSPC, "No space left on device", "marks"), 507, "marks: No space left on device"),
    "memory": (MemoryError(), 507, "Out of memory; ask for less at once."),
    "http": (HTTPException(418, "short"), 418, "short"),
}
INTERNAL = {"value": ValueError("secret of /home/x"), "key": KeyError("k"), "file": FileNotFoundError(2, "no", "/h")}


def route(name: str, error: Exception) -> Route:
    def fails(request: Request) -> Response:
        raise error

    return Route(f"/{name}", fails)


def shown_by(capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr shows of a failure; it is printed after the answer."""
    until = time.monotonic() + 10
    while not (text := capsys.readouterr().err) and time.monotonic() < until:
        time.sleep(0.005)
    return text


def breaks(request: Request) -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"some"
        raise ValueError("in the middle")

    return StreamingResponse(pieces())


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    routes = [route(name, error) for name, (error, _, _) in ERRORS.items()]
    routes += [route(name, error) for name, error in INTERNAL.items()]
    starlette = Starlette(routes=[*routes, Route("/breaks", breaks)], exception_handlers=handlers())
    with running(lambda access: protected(starlette, access)) as server:
        yield server


@pytest.mark.parametrize("name", ERRORS)
def test_an_expected_error_has_its_status_and_its_text(
    page: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, status, text = ERRORS[name]
    answer = page.get(f"/{name}")
    assert (answer.status, json.loads(answer.text)) == (status, {"error": text})
    assert answer.headers.get("retry-after") == ("2" if status == 503 else None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", INTERNAL)
def test_an_unexpected_error_is_shown_in_the_terminal_alone(
    page: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = page.get(f"/{name}?token=abc")
    assert answer.status == 500
    assert list(json.loads(answer.text)) == ["error"]
    assert not any(word in answer.text for word in ("secret", "Traceback", "/h", "Error"))
    shown = shown_by(capsys)
    assert shown.startswith(f"error: GET /{name}\nTraceback")
    assert type(INTERNAL[name]).__name__ in shown
    assert "abc" not in shown
    assert page.get("/data").status == 422


def test_an_answer_that_breaks_is_cut_off_and_the_server_lives(
    page: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = page.raw(page.head("GET /breaks HTTP/1.1") + b"\r\n")
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"middle" not in answer
    assert "ValueError: in the middle" in shown_by(capsys)
    assert page.get("/data").status == 422


def test_a_failure_before_the_application_is_answered_too(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(*arguments: object) -> None:
        raise ValueError("early")

    with running(lambda access: protected(broken, access)) as page:  # type: ignore[arg-type]
        answer = page.get("/")
    assert (answer.status, answer.headers["x-content-type-options"]) == (500, "nosniff")
    assert "early" in shown_by(capsys)


def test_the_router_has_words(page: Running) -> None:
    assert page.get("/nothing").text == '{"error": "There is nothing at this address."}'
    assert page.post("/data").text == '{"error": "This address does not take this method."}'
