"""What a request may cost, against a running server: large and slow bodies, many requests, large heads."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from review_server import Running, running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ensemble.review.server.app import protected
from ensemble.review.server.asgi import App, Message
from ensemble.review.server.failures import handlers
from ensemble.review.server.guard import Access, Guard
from ensemble.review.server.limits import BOUNDS, Bounds, Limits, oversize

GIGABYTES = 2 << 30
PIECE = b"x" * 65536
gate, entered = threading.Event(), threading.Semaphore(0)


async def body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def ignores(request: Request) -> PlainTextResponse:
    return PlainTextResponse("answered without its body")


def waits(request: Request) -> PlainTextResponse:
    entered.release()
    gate.wait(10)
    return PlainTextResponse("done")


def app() -> Starlette:
    bodies = [Route(path, body, methods=["POST"]) for path in ("/marks", "/search", "/verdicts/import")]
    others = [Route("/ignores", ignores, methods=["POST"]), Route("/waits", waits), Route("/", ignores)]
    return Starlette(routes=[*bodies, *others], exception_handlers=handlers())


def limited(bounds: Bounds) -> Any:
    def make(access: Access) -> App:
        return Guard(Limits(app(), bounds), access)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    with running(lambda access: protected(app(), access)) as server:
        yield server


def peak_bytes() -> int:
    """The most memory of this process since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of memory is not known here")


def post_head(page: Running, path: str, **more: str) -> bytes:
    own = {"origin": page.origin, "x_review": "1", "content_type": "application/octet-stream"}
    return page.head(f"POST {path} HTTP/1.1", **{**own, **more}) + b"\r\n"


def sent_until_refused(page: Running, path: str, *, chunked: bool) -> tuple[int, bytes]:
    """Send a body of 2 GB; how much was sent when the server had enough, and what it answered."""
    length = {"transfer_encoding": "chunked"} if chunked else {"content_length": str(GIGABYTES)}
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    sent, answer = 0, b""
    with page.connect() as connection:
        try:
            connection.sendall(post_head(page, path, **length))
            while sent < GIGABYTES:
                connection.sendall(piece)
                sent += len(PIECE)
        except ConnectionError:
            pass
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            pass
    return sent, answer


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/marks", "/search", "/verdicts/import", "/ignores", "/nothing"])
def test_a_body_of_2_gb_is_refused_and_takes_no_memory(page: Running, path: str, chunked: bool) -> None:
    forget_peak()
    before = peak_bytes()
    sent, answer = sent_until_refused(page, path, chunked=chunked)
    is_file = path in ("/search", "/verdicts/import")
    assert sent < (80 << 20 if chunked and is_file else 16 << 20)
    assert peak_bytes() - before < 100 << 20
    if answer and not (chunked and path in ("/ignores", "/nothing")):
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer
    assert page.post("/marks", b"{}").text == "2"


@pytest.mark.parametrize(("path", "limit"), [("/marks", BOUNDS.body_bytes), ("/search", BOUNDS.file_bytes)])
def test_a_body_up_to_the_limit_is_read(page: Running, path: str, limit: int) -> None:
    assert page.post(path, b"x" * limit).text == str(limit)
    answer = page.raw(post_head(page, path, content_length=str(limit + 1)))
    assert answer.startswith(b"HTTP/1.1 413")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error.startswith(f"The body is larger than {limit >> 20} MiB")


def test_bodies_in_pieces_are_counted(page: Running) -> None:
    def chunked(n: int) -> bytes:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) for _ in range(n))
        return post_head(page, "/marks", transfer_encoding="chunked", connection="close") + pieces + b"0\r\n\r\n"

    assert page.raw(chunked(16)).endswith(b"\r\n\r\n1048576")
    answer = page.raw(chunked(17))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"larger than 1 MiB" in answer


@pytest.mark.parametrize("header", [{"content_length": "5"}, {"transfer_encoding": "chunked"}])
def test_a_get_has_no_body(page: Running, header: dict[str, str]) -> None:
    answer = page.raw(page.head("GET / HTTP/1.1", **header) + b"\r\nhello")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"A GET has no body." in answer


def test_an_answer_without_the_body_ends_the_connection(page: Running) -> None:
    with page.connect() as connection:
        connection.sendall(post_head(page, "/ignores", content_length="100"))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.read() == b"answered without its body"
        assert response.headers["connection"] == "close"


def test_a_body_that_stops_is_given_up() -> None:
    with running(limited(replace(BOUNDS, idle_s=0.1))) as page:
        answer = page.raw(post_head(page, "/marks", content_length="100") + b"x")
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"too slowly" in answer


def test_a_body_that_trickles_is_given_up() -> None:
    with running(limited(replace(BOUNDS, body_s=0.3))) as page, page.connect() as connection:
        connection.sendall(post_head(page, "/marks", content_length="100000"))
        answer = b""
        connection.settimeout(0.05)
        until = time.monotonic() + 10
        while not answer and time.monotonic() < until:
            connection.sendall(b"x")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_file_has_more_time_than_other_bodies() -> None:
    with running(limited(replace(BOUNDS, body_s=0.01))) as page, page.connect() as connection:
        connection.sendall(post_head(page, "/search", content_length="2") + b"x")
        time.sleep(0.1)
        connection.sendall(b"y")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_200_requests_at_once_are_answered_or_refused(page: Running) -> None:
    gate.clear()
    start = threading.Barrier(201)

    def ask(i: int) -> int:
        start.wait()
        return page.get("/waits" if i % 2 else "/").status

    with ThreadPoolExecutor(200) as pool:
        answers = [pool.submit(ask, i) for i in range(200)]
        start.wait()
        until = time.monotonic() + 10
        while sum(answer.done() for answer in answers) < 30 and time.monotonic() < until:
            time.sleep(0.01)
        gate.set()
        statuses = [answer.result() for answer in answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= BOUNDS.requests
    assert page.get("/").status == 200


def test_a_busy_server_says_so_and_recovers() -> None:
    gate.clear()
    while entered.acquire(blocking=False):
        pass
    with running(limited(replace(BOUNDS, requests=2))) as page, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(page.get, "/waits") for _ in range(2)]
        assert all(entered.acquire(timeout=10) for _ in held)
        answer = page.get("/")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "busy" in answer.text
        gate.set()
        assert [each.result().status for each in held] == [200, 200]
        assert page.get("/").status == 200


def test_few_files_are_taken_at_once() -> None:
    with running(limited(replace(BOUNDS, files=1))) as page, page.connect() as first:
        first.sendall(post_head(page, "/search", content_length="2") + b"x")
        until = time.monotonic() + 10
        while (answer := page.post("/search", b"x")).status == 200 and time.monotonic() < until:
            pass
        assert answer.status == 503
        assert page.post("/marks", b"x").status == 200
        first.sendall(b"y")
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
        assert page.post("/search", b"x").status == 200


def test_long_addresses_and_large_heads_are_refused(page: Running) -> None:
    assert page.get("/?" + "x" * 30_000).status == 200
    assert page.get("/?" + "x" * 40_000).status == 414
    assert page.get("/?" + "&".join(["x=1"] * 50)).status == 200
    assert page.get("/?" + "&".join(["x=1"] * 51)).status == 400
    assert page.get("/", x_long="y" * 30_000).status == 200
    assert page.get("/", x_long="y" * 40_000).status == 431
    assert page.get("/", **{f"x_{i}": "y" for i in range(90)}).status == 200
    assert page.get("/", **{f"x_{i}": "y" for i in range(110)}).status == 431


def test_the_bounds_of_a_head_are_exact() -> None:
    request = {"method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [(b"ab", b"c")] * 3}
    bounds = Bounds(target_bytes=1, head_bytes=9, headers=3)
    assert oversize(request, bounds) is None
    for smaller, status in ((replace(bounds, headers=2), 431), (replace(bounds, head_bytes=8), 431)):
        refusal = oversize(request, smaller)
        assert refusal is not None
        assert refusal.status == status
    refusal = oversize({**request, "query_string": b"x"}, bounds)
    assert refusal is not None
    assert refusal.status == 414


def test_counts_are_right_after_an_error() -> None:
    async def fails(*arguments: Any) -> None:
        raise ValueError

    async def nothing() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        raise AssertionError("no refusal is sent")

    request = {"method": "POST", "path": "/search", "raw_path": b"/", "query_string": b"", "headers": []}

    async def repeat() -> None:
        limits = Limits(fails, replace(BOUNDS, requests=1, files=1))
        for _ in range(3):
            with pytest.raises(ValueError, match=r"^$"):
                await limits(request, nothing, send)

    asyncio.run(repeat())
