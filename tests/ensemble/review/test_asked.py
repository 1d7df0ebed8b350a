"""Queries with bytes that are not UTF-8, values out of range, unknown choices; bodies that are bounded and JSON."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ensemble.review.answer import json_answer
from ensemble.review.asked import (
    TooLarge,
    blocks,
    choice_in,
    json_object,
    number_in,
    posted,
    query_of,
    real_in,
    real_of,
    text_of,
    whole,
    whole_of,
)
from ensemble.review.server.failures import handlers
from featstore.errors import OptionError


def echo(request: Request, body: bytes) -> Response:
    return json_answer(json_object(body))


CLIENT = TestClient(
    Starlette(routes=[Route("/", posted(echo, 100), methods=["POST"])], exception_handlers=dict(handlers()))
)


def request(query: bytes) -> Request:
    return Request({"type": "http", "query_string": query, "headers": []})


def test_bytes_that_are_not_utf8_become_surrogates() -> None:
    query = query_of(request(b"clip=a%FF%23t%3D0%2C1.wav&k=&clip2=%C3%A9+b&raw=\xff"))
    assert query == {"clip": "a\udcff#t=0,1.wav", "clip2": "é b", "raw": "\udcff"}, "an empty value is none"


def test_very_many_values_are_refused() -> None:
    assert query_of(request(b"&".join(b"a=1" for _ in range(50)))) == {"a": "1"}
    with pytest.raises(OptionError, match="at most 50 values"):
        query_of(request(b"&".join(b"a=1" for _ in range(51))))


NO_NUMBERS = ["0", "101", "-1", "1e2", "1.5", "٣", "9" * 5000, "nan", "²", " 1", "1_0"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="k: expected a whole number from 1 to 100, got") as caught:
        number_in({"k": text}, "k", 5, 1, 100)
    assert len(str(caught.value)) < 300


def test_numbers_and_choices() -> None:
    assert [number_in({"k": text}, "k", 5, 1, 100) for text in ("", "1", "100")] == [5, 1, 100]
    assert number_in({}, "k", 5, 1, 100) == 5
    assert [whole("007"), whole("999999999"), whole("1000000000"), whole("")] == [7, 999_999_999, None, None]
    assert real_in({"x": "-1.5e3"}, "x") == -1500
    assert choice_in({"m": "b"}, "m", ["a", "b"], "a") == "b"
    assert choice_in({}, "m", ["a", "b"]) == ""
    with pytest.raises(OptionError, match=r"unknown m: 'fam'; did you mean fan\? choose from fan, pump"):
        choice_in({"m": "fam"}, "m", ["fan", "pump"])


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e999"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=f"x: expected a finite number, got '{text}'"):
        real_in({"x": text}, "x")


def test_values_of_json() -> None:
    assert (text_of("a\udcff", "x"), whole_of(3, "x"), real_of(3, "x")) == ("a\udcff", 3, 3.0)
    for check, value, words in (
        (text_of, 1, "expected a text, got a number"),
        (text_of, None, "expected a text, got null"),
        (whole_of, True, "expected a whole number, got true or false"),
        (whole_of, 1.0, "expected a whole number, got a number"),
        (real_of, "1", "expected a number, got a text"),
        (real_of, [], "expected a number, got a list"),
        (real_of, float("nan"), "expected a finite number"),
        (real_of, 10**400, "expected a finite number"),
    ):
        with pytest.raises(OptionError, match=f"x: {words}"):
            check(value, "x")  # type: ignore[operator]


def test_a_body_of_the_limit_is_read_and_a_larger_one_refused() -> None:
    fits = b'{"a": "%s"}' % (b"x" * 91)
    assert len(fits) == 100
    assert CLIENT.post("/", content=fits).json() == {"a": "x" * 91}
    answer = CLIENT.post("/", content=fits + b" ")
    assert answer.status_code == 413
    assert answer.json() == {"error": "more than 100 bytes were sent, which is the limit here"}
    assert CLIENT.post("/", content=iter([fits, b" "])).status_code == 413, "of a length that is not stated"


def test_a_stated_length_is_refused_before_anything_is_read() -> None:
    large = SimpleNamespace(headers={"content-length": "101"}, stream=lambda: pytest.fail("it was read"))

    async def read() -> None:
        async for _ in blocks(large, 100, "cut it"):  # type: ignore[arg-type]
            pass

    with pytest.raises(TooLarge, match=r"more than 100 bytes .*; cut it"):
        asyncio.run(read())


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100, b"null"])
def test_what_is_no_object_is_told(body: bytes) -> None:
    answer = CLIENT.post("/", content=body)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]
