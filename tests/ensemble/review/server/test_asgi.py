"""Answers and refusals as messages of ASGI."""

import asyncio
import json
from typing import Any

from ensemble.review.server.asgi import Message, Refusal, answer, error_body, refuse, values

REFUSAL = Refusal(403, "<b>no</b>\x1b", ((b"retry-after", b"1"),))


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


def sent_by(make: Any) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(make(send))
    return sent


def test_all_values_of_a_header_are_found() -> None:
    request = scope((b"a", b"1"), (b"b", b"\xff"), (b"a", b"2"))
    assert (values(request, b"a"), values(request, b"b"), values(request, b"c")) == (["1", "2"], ["\xff"], [])


def test_an_answer_states_its_length_and_its_type() -> None:
    start, body = sent_by(lambda send: answer(send, 200, b"abc", "text/plain", [(b"x", b"y")]))
    assert start["headers"] == [(b"content-type", b"text/plain"), (b"content-length", b"3"), (b"x", b"y")]
    assert (start["status"], body["body"]) == (200, b"abc")


def test_a_script_gets_json_and_the_connection_ends() -> None:
    start, body = sent_by(lambda send: refuse(scope((b"accept", b"*/*")), send, REFUSAL))
    assert start["status"] == 403
    assert {(b"content-type", b"application/json"), (b"connection", b"close"), (b"retry-after", b"1")} <= {
        *start["headers"]
    }
    assert json.loads(body["body"]) == {"error": "<b>no</b>\\x1b"}
    assert body["body"] == error_body(REFUSAL.text)


def test_a_person_gets_a_page_in_which_text_is_text() -> None:
    start, body = sent_by(lambda send: refuse(scope((b"accept", b"text/html,*/*")), send, REFUSAL))
    assert (b"content-type", b"text/html; charset=utf-8") in start["headers"]
    assert (b"connection", b"close") in start["headers"]
    assert b"<h1>Forbidden</h1>" in body["body"]
    assert b"&lt;b&gt;no&lt;/b&gt;\\x1b" in body["body"]
