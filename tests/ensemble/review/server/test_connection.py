"""Connections of the server: what is not HTTP, bodies of uncertain length, slow and many clients, the end."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from review_server import Running, running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ensemble.review.server import connection
from ensemble.review.server.app import protected
from ensemble.review.server.failures import handlers


async def body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.url.path} {len(await request.body())}.")


def large(request: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * (64 << 20))


def app() -> Starlette:
    routes = [Route("/large", large), Route("/{path:path}", body, methods=["GET", "POST"])]
    return Starlette(routes=routes, exception_handlers=handlers())


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    with running(lambda access: protected(app(), access)) as server:
        yield server


def post(page: Running, *lines: str) -> bytes:
    """A POST whose last headers are `lines`."""
    head = page.head("POST /marks HTTP/1.1", origin=page.origin, x_review="1")
    return head + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def read_until(client: socket.socket, end: bytes) -> bool:
    """Whether an answer ends so."""
    answer = b""
    while not answer.endswith(end) and (part := client.recv(65536)):
        answer += part
    return answer.endswith(end)


def closed(client: socket.socket) -> bool:
    """Whether the server closes a connection without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * (1 << 20),
        b"A" * (1 << 20),
    ],
)
def test_what_is_not_http_is_refused(page: Running, data: bytes) -> None:
    answer = page.raw(data)
    if answer:
        head, _, text = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
        assert b"x-content-type-options: nosniff" in head
        assert list(json.loads(text)) == ["error"]
    assert len(data) > 1 << 19 or answer
    assert page.get("/alive").status == 200


SMUGGLED = b"GET /smuggled HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Content-Length: 0x5",),
        ("Content-Length: five",),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ],
)
def test_a_body_whose_length_is_not_certain_is_refused(page: Running, lines: tuple[str, ...]) -> None:
    answer = page.raw(post(page, *lines) + b"0\r\n\r\n" + SMUGGLED)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert b"/smuggled" not in answer


def test_chunks_win_over_a_length_and_no_request_hides_in_a_body(page: Running) -> None:
    hidden = page.head("GET /smuggled HTTP/1.1") + b"\r\n"
    answer = page.raw(post(page, f"Content-Length: {len(hidden) + 5}", "Connection: close") + b"0\r\n\r\n" + hidden)
    assert answer.endswith(f"/marks {len(hidden) + 5}.".encode())
    assert b"/smuggled 0." not in answer


def test_a_malformed_chunk_ends_the_connection(page: Running, capsys: pytest.CaptureFixture[str]) -> None:
    answer = page.raw(post(page, "Transfer-Encoding: chunked") + b"5\r\nhello\r\nzz\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert page.get("/alive").status == 200
    assert capsys.readouterr().err == ""


def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_failure(
    page: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    with page.connect() as client:
        client.sendall(post(page, "Content-Length: 100") + b"x")
    with page.connect() as client:
        client.sendall(page.head("GET /large HTTP/1.1") + b"\r\n")
        assert client.recv(10) == b"HTTP/1.1 2"
    for _ in range(3):
        assert page.get("/alive").status == 200
    assert capsys.readouterr().err == ""


def test_http_1_0_is_served_and_closed(page: Running) -> None:
    answer = page.raw(page.head("GET /old HTTP/1.0") + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"/old 0.")
    assert page.raw(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403")


def test_requests_may_follow_each_other_on_a_connection(page: Running) -> None:
    last = page.head("GET /b HTTP/1.1", connection="close") + b"\r\n"
    answer = page.raw(page.head("GET /a HTTP/1.1") + b"\r\n" + last)
    assert answer.index(b"/a 0.") < answer.index(b"/b 0.")


def test_a_websocket_is_refused(page: Running) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    answer = page.get("/", **upgrade, sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==", origin=page.origin)
    assert answer.status == 400


def test_slow_heads_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.2)
    with running(lambda access: protected(app(), access)) as page, ExitStack() as stack:
        silent, partial, trickling, second = (stack.enter_context(page.connect()) for _ in range(4))
        partial.sendall(b"GET / HT")
        second.sendall(page.head("GET /first HTTP/1.1") + b"\r\n")
        assert read_until(second, b"/first 0.")
        second.sendall(b"G")
        until = time.monotonic() + 10
        trickling.settimeout(0.02)
        ended = False
        while not ended and time.monotonic() < until:
            try:
                trickling.sendall(b"G")
                ended = closed(trickling)
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
        assert ended
        assert all(closed(client) for client in (silent, partial, second))
        assert page.get("/alive").status == 200


def test_a_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALLED_S", 0.1)
    with running(lambda access: protected(app(), access)) as page, page.connect() as client:
        client.sendall(page.head("GET /large HTTP/1.1") + b"\r\n")
        time.sleep(0.4)
        received = 0
        try:
            while part := client.recv(1 << 20):
                received += len(part)
        except ConnectionError:
            pass
        assert 0 < received < 64 << 20


def test_a_client_that_reads_gets_all(page: Running) -> None:
    assert len(page.get("/large").body) == 64 << 20


def test_too_many_connections_are_closed_and_the_others_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 5)
    with running(lambda access: protected(app(), access)) as page, ExitStack() as stack:
        clients = [stack.enter_context(page.connect()) for _ in range(8)]
        assert [closed(client) for client in clients[5:]] == [True] * 3
        clients[0].sendall(page.head("GET /alive HTTP/1.1") + b"\r\n")
        assert read_until(clients[0], b"/alive 0.")


def test_few_routes_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "THREADS", 2)
    lock, now, most = threading.Lock(), 0, 0

    def work(request: Request) -> PlainTextResponse:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return PlainTextResponse("")

    starlette = Starlette(routes=[Route("/", work)])
    with running(lambda access: protected(starlette, access)) as page, ThreadPoolExecutor(10) as pool:
        assert {answer.status for answer in pool.map(lambda _: page.get("/"), range(10))} == {200}
    assert most == 2


def test_it_ends_though_a_client_does_not_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "CLOSING_S", 1)
    with ExitStack() as stack:
        with running(lambda access: protected(app(), access)) as page:
            reader, silent = (stack.enter_context(page.connect()) for _ in range(2))
            reader.sendall(page.head("GET /large HTTP/1.1") + b"\r\n")
            silent.sendall(b"GET")
            assert reader.recv(10) == b"HTTP/1.1 2"
        assert closed(silent)
        with suppress(ConnectionError):
            while reader.recv(1 << 20):
                pass
    assert capsys.readouterr().err == ""
