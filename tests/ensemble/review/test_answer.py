"""Answers as JSON hold every name."""

import json

import pytest

pytest.importorskip("starlette")

from ensemble.review.answer import compact, json_answer


def test_names_that_are_not_utf8_are_escaped() -> None:
    answer = json_answer({"key": "a\udcff é"}, 202)
    assert (answer.status_code, answer.media_type) == (202, "application/json")
    assert bytes(answer.body).isascii()
    assert json.loads(answer.body) == {"key": "a\udcff é"}


def test_numbers_that_are_none_are_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        compact(float("nan"))
