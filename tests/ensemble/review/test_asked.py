"""Bodies are bounded, and what is wrong is told as JSON."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ensemble.review.asked import json_object, posted, printed, text_of
from featstore.errors import DataError


def echo(request: Request, body: bytes) -> Response:
    return JSONResponse(json_object(body))


CLIENT = TestClient(Starlette(routes=[Route("/", posted(echo, 100), methods=["POST"])]))


def test_a_body_of_the_limit_is_read_and_a_larger_one_refused() -> None:
    fits = b'{"a": "%s"}' % (b"x" * 91)
    assert len(fits) == 100
    assert CLIENT.post("/", content=fits).status_code == 200
    answer = CLIENT.post("/", content=fits + b" ")
    assert (answer.status_code, answer.json()) == (413, {"error": "more than 100 bytes were sent"})


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100])
def test_what_is_no_object_is_told(body: bytes) -> None:
    answer = CLIENT.post("/", content=body)
    assert answer.status_code == 400
    assert "the request is not" in answer.json()["error"]


def test_texts_that_json_cannot_hold_become_escapes() -> None:
    assert printed("a\udcff") == "a\\udcff"
    with pytest.raises(DataError, match="machine must be a text"):
        text_of(1, "machine")
