"""Queries with bytes that are not UTF-8, numbers out of range, unknown choices; errors as answers."""

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ensemble.review.space.query import answered, choice_in, number_in, query_of, refused
from featstore.errors import DataError, RequestError, ResourceError, StoreError


def request(query: bytes) -> Request:
    return Request({"type": "http", "query_string": query, "headers": []})


def test_bytes_that_are_not_utf8_become_surrogates() -> None:
    query = query_of(request(b"clip=a%FF%23t%3D0%2C1.wav&k=&clip2=%C3%A9+b&raw=\xff"))
    assert query == {"clip": "a\udcff#t=0,1.wav", "k": "", "clip2": "é b", "raw": "\udcff"}


def test_a_query_of_very_many_fields_is_refused() -> None:
    with pytest.raises(HTTPException, match="the query is refused"):
        query_of(request(b"&".join(b"a=1" for _ in range(100))))


@pytest.mark.parametrize("text", ["0", "101", "-1", "1e2", "1.5", "٣", "9" * 5000, "nan", "²"])
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(HTTPException, match="k: expected a whole number from 1 to 100, got") as caught:
        number_in({"k": text}, "k", 5, 1, 100)
    assert caught.value.status_code == 400


def test_numbers_and_choices() -> None:
    assert [number_in({"k": text}, "k", 5, 1, 100) for text in ("", "1", "100")] == [5, 1, 100]
    assert number_in({}, "k", 5, 1, 100) == 5
    assert choice_in({"m": "b"}, "m", ["a", "b"], "a") == "b"
    assert choice_in({"m": ""}, "m", ["a", "b"], "") == ""
    with pytest.raises(HTTPException, match=r"unknown m: 'fam'; did you mean fan\? choose from fan, pump"):
        choice_in({"m": "fam"}, "m", ["fan", "pump"], "")


@pytest.mark.parametrize(
    ("error", "status"),
    [(RequestError("x"), 404), (DataError("x"), 422), (StoreError("x"), 500), (ResourceError("x"), 500)],
)
def test_errors_of_the_project_are_answers(error: Exception, status: int) -> None:
    with pytest.raises(HTTPException, match="x") as caught, answered():
        raise error
    assert caught.value.status_code == status


def test_messages_are_one_printable_line() -> None:
    message = refused(400, "a\nb\udcff\u202e" + 5000 * "c").detail
    assert message.startswith("a\\nb\\udcff\\u202e")
    assert len(message) == 1000
