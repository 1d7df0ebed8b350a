"""Who may use the page: by the rules, and against a running server."""

from collections.abc import Iterator
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
from ensemble.review.server.guard import HEADERS, Access, Guard, opens, refusal_of

ACCESS = Access(8123, "the-token", "the-secret")
HERE = "http://127.0.0.1:8123"
OWN = {"host": "127.0.0.1:8123", "cookie": "review-8123=the-secret"}
POST = {**OWN, "origin": HERE, "x-review": "1", "content-type": "application/json"}


def scope(headers: dict[str, str], method: str = "GET", path: str = "/", query: str = "") -> dict[str, Any]:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}


def status(*request: Any, access: Access = ACCESS) -> int | None:
    refusal = refusal_of(scope(*request), access)
    return refusal.status if refusal else None


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {**OWN, "host": "localhost:8123"},
        {**OWN, "host": "LOCALHOST:8123"},
        {**OWN, "origin": HERE},
        {**OWN, "sec-fetch-site": "same-origin"},
        {**OWN, "sec-fetch-site": "none"},
        {**OWN, "cookie": "a=b; review-8123=the-secret"},
        {**OWN, "cookie": "review-8123=of another server; review-8123=the-secret; c=d"},
    ],
)
def test_requests_of_the_page_pass(headers: dict[str, str]) -> None:
    assert status(headers) is None
    assert status(headers, "HEAD", "/static/app.js") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "evil.example:8123"},
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:80"},
        {"host": "127.0.0.1:8123.evil.example"},
        {"host": "127.0.0.1:8123, evil.example"},
        {"host": "[::1]:8123"},
        {"host": "0.0.0.0:8123"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "https://127.0.0.1:8123"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "http://localhost:8123"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"cookie": ""},
        {"cookie": "review-8123=the-token"},
        {"cookie": "review-8123="},
        {"cookie": "review-9000=the-secret"},
        {"cookie": "xreview-8123=the-secret"},
        {"cookie": "a=review-8123=the-secret"},
        {"cookie": "review-8123=\xff\xfe"},
    ],
)
def test_other_requests_are_refused(changed: dict[str, str]) -> None:
    for request in (OWN, POST):
        method = "POST" if request is POST else "GET"
        assert status({**request, **changed}, method) == 403


def test_a_second_host_is_refused() -> None:
    doubled = scope(OWN)
    doubled["headers"].append((b"host", b"127.0.0.1:8123"))
    refusal = refusal_of(doubled, ACCESS)
    assert refusal is not None
    assert refusal.status == 403


def test_every_origin_must_be_the_page() -> None:
    doubled = scope({**OWN, "origin": HERE})
    doubled["headers"].append((b"origin", b"http://evil.example"))
    assert refusal_of(doubled, ACCESS) is not None


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "get"])
def test_only_three_methods_are_served(method: str) -> None:
    assert status(POST, method) == 405


def test_there_is_no_websocket() -> None:
    assert status({**OWN, "upgrade": "websocket", "connection": "upgrade"}) == 400


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"sec-fetch-site": "same-origin"}, None),
        ({"content-type": "application/octet-stream"}, None),
        ({"x-review": ""}, 403),
        ({"x-review": "0"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "Application/X-WWW-Form-URLEncoded; charset=utf-8"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_a_post_must_be_one_that_no_form_can_send(changed: dict[str, str], expected: int | None) -> None:
    assert status({**POST, **changed}, "POST", "/marks") == expected


def test_a_post_needs_to_say_where_it_comes_from() -> None:
    without = {name: value for name, value in POST.items() if name != "origin"}
    assert status(without, "POST") == 403
    assert status({**without, "sec-fetch-site": "none"}, "POST") == 403
    assert status({**without, "sec-fetch-site": "same-origin"}, "POST") is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("token=the-token", None),
        ("token=the-token&x=1", None),
        ("token=", 403),
        ("token", 403),
        ("token=the-secret", 403),
        ("token=the-token2", 403),
        ("token=THE-TOKEN", 403),
        ("token=%ff%00", 403),
        ("token=the-token&token=the-token", 403),
        ("&".join(["token=the-token"] * 100), 403),
        ("tok=the-token", 403),
    ],
)
def test_only_the_token_opens_the_page(query: str, expected: int | None) -> None:
    without = {"host": OWN["host"]}
    assert status(without, "GET", "/", query) == expected
    assert status({**without, "origin": "http://evil.example"}, "GET", "/", query) == 403
    assert status({**without, "host": "evil.example"}, "GET", "/", query) == 403
    assert status(without, "POST", "/", query) == 403
    assert status(without, "GET", "/parts/overview", query) == 403


def test_a_post_may_leave_out_its_type_and_every_type_counts() -> None:
    without = scope({name: value for name, value in POST.items() if name != "content-type"}, "POST")
    assert refusal_of(without, ACCESS) is None
    without["headers"] += [(b"content-type", b"application/json"), (b"content-type", b"text/plain")]
    refusal = refusal_of(without, ACCESS)
    assert refusal is not None
    assert refusal.status == 415


def test_a_wrong_token_is_refused_with_the_cookie_too() -> None:
    assert status(OWN, "GET", "/", "token=") == 403
    assert status(OWN, "GET", "/", "token=of-an-earlier-start") == 403


def test_the_address_may_stand_in_another_page() -> None:
    link = {"host": OWN["host"], "sec-fetch-site": "cross-site"}
    assert status(link, "GET", "/", "token=the-token") is None
    assert opens(scope(link, "GET", "/", "token=the-token"))


def test_port_80_is_not_named_by_browsers() -> None:
    web = Access(80, "t", "s")
    assert status({"host": "localhost", "cookie": "review-80=s"}, access=web) is None
    assert status({"host": "127.0.0.1:80", "cookie": "review-80=s"}, access=web) is None


def test_secrets_are_long_random_and_not_shown() -> None:
    one, other = Access.new(1), Access.new(1)
    assert len({one.token, one.secret, other.token, other.secret}) == 4
    assert min(map(len, (one.token, one.secret))) >= 43
    assert one.token not in repr(one)
    assert one.secret not in repr(one)
    assert one.address == f"http://127.0.0.1:1/?token={one.token}"


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    async def body(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {len(await request.body())}")

    def kept(request: Request) -> PlainTextResponse:
        return PlainTextResponse("kept", headers={"Cache-Control": "private, max-age=60"})

    routes = [Route("/", body), Route("/marks", body, methods=["POST"]), Route("/kept", kept)]
    with running(lambda access: protected(Starlette(routes=routes), access)) as server:
        yield server


def has_headers(headers: Any) -> bool:
    return all(headers.get(name.decode()) == value.decode() for name, value in HEADERS)


def test_the_printed_address_sets_the_cookie_and_leads_on_without_the_token(page: Running) -> None:
    answer = page.get(page.access.address.removeprefix(page.origin), cookie=None)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert cookie == page.cookie
    assert sorted(flags) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    assert page.access.token not in str(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert page.get("/", cookie=cookie).text == "GET 0"


def test_a_link_to_the_address_leads_on_by_a_page(page: Running) -> None:
    path = page.access.address.removeprefix(page.origin)
    for site in ("cross-site", "same-site"):
        answer = page.get(path, cookie=None, sec_fetch_site=site)
        assert answer.status == 200
        assert '<meta http-equiv="refresh" content="0;url=/">' in answer.text
        assert answer.headers["set-cookie"].startswith(page.cookie)
        assert page.access.token not in str(answer)


def test_every_answer_has_the_headers_of_safety_and_none_for_other_origins(page: Running) -> None:
    answers = [
        page.get("/"),
        page.get("/", cookie=None),
        page.get("/", cookie=None, accept="text/html"),
        page.get("/", host="evil.example"),
        page.get("/nothing"),
        page.get("/kept"),
        page.get(page.access.address.removeprefix(page.origin), cookie=None),
        page.post("/marks", x_review=None),
        page.ask("OPTIONS", "/marks", origin="http://evil.example", access_control_request_method="POST"),
        page.ask("OPTIONS", "/marks", origin=page.origin, access_control_request_method="POST"),
    ]
    assert [answer.status for answer in answers] == [200, 403, 403, 403, 404, 200, 303, 403, 405, 405]
    for answer in answers:
        assert has_headers(answer.headers), answer
        assert "access-control-allow-origin" not in answer.headers
    assert [answer.headers["cache-control"] for answer in answers] == [
        *["no-store"] * 5,
        "private, max-age=60",
        *["no-store"] * 4,
    ]


def test_a_refusal_says_what_to_do_to_a_person_and_to_a_script(page: Running) -> None:
    person = page.get("/", cookie=None, accept="text/html,*/*")
    assert person.headers["content-type"].startswith("text/html")
    assert "<h1>Forbidden</h1>" in person.text
    assert "detect review has printed" in person.text
    script = page.get("/", cookie=None)
    assert script.headers["content-type"] == "application/json"
    assert '{"error": "Open the whole address' in script.text


@pytest.mark.parametrize("changed", [{"cookie": None}, {"x_review": None}, {"origin": "http://evil.example"}])
def test_a_refused_body_is_not_read(page: Running, changed: dict[str, Any]) -> None:
    answer = page.post("/marks", b"x" * 1000, **changed)
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert page.post("/marks", b"x" * 1000).text == "POST 1000"


def test_cookies_of_another_server_do_not_open_this_one(page: Running) -> None:
    with running(lambda access: protected(Starlette(), access)) as other:
        assert page.get("/", cookie=other.cookie).status == 403
        assert page.get("/", cookie=f"{page.access.cookie}={other.access.secret}").status == 403
        assert page.get(f"/?token={other.access.token}", cookie=None).status == 403


def test_a_head_has_no_body(page: Running) -> None:
    answer = page.ask("HEAD", "/")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_no_other_protocol_reaches_the_application(kind: str) -> None:
    sent: list[Message] = []

    async def never(*arguments: Any) -> None:
        raise AssertionError("reached")

    async def send(message: Message) -> None:
        sent.append(message)

    application: App = never
    call = Guard(application, ACCESS)({"type": kind, "headers": []}, never, send)
    with pytest.raises(StopIteration):
        call.__await__().__next__()
    assert [message["type"] for message in sent] == (["websocket.close"] if kind == "websocket" else [])
