"""Who may use the page: requests of a browser on this machine that was given the address with its token.

The server listens on 127.0.0.1, but every program and every page in a browser can send requests to it. Four checks
keep them out. The Host must be this server, so that a name that resolves to 127.0.0.1 does not reach it. The Origin,
where it is sent, must be the page itself. A cookie is needed, which only the address with the token sets. A POST needs
a header that no form can send.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from ensemble.review.server.asgi import App, Message, Receive, Refusal, Scope, Send, answer, refuse, values

METHODS = ("GET", "HEAD", "POST")
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""What a form of another page can send without asking."""

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"media-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Headers of every answer."""

NO_STORE = (b"cache-control", b"no-store")
"""Header of every answer that says nothing else on its storage."""

OPEN_AGAIN = (
    "Open the whole address that detect review has printed in its terminal, with its ?token=, in this browser. "
    "The address of an earlier start does not work."
)


@dataclass(frozen=True)
class Access:
    """What opens the page. port: of the server. token: in the printed address. secret: value of the cookie."""

    port: int
    token: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def new(cls, port: int) -> "Access":
        """A random token and a random secret of 256 bits each."""
        return cls(port, secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    @property
    def address(self) -> str:
        """The address to print."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Name of the cookie. Browsers share the cookies of all ports of a host, hence the port in the name."""
        return f"review-{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that the server answers to."""
        names = ("127.0.0.1", "localhost")
        return frozenset(f"{name}:{self.port}" for name in names) | (frozenset(names) if self.port == 80 else set())


class Guard:
    """Passes the requests of the page on to `app`, and refuses all others before anything of their body is read."""

    def __init__(self, app: App, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await _no_other(scope, send)
            return

        async def sent(message: Message) -> None:
            await send(_with_headers(message))

        refusal = refusal_of(scope, self.access)
        if refusal:
            await refuse(scope, sent, refusal)
        elif opens(scope):
            await _opened(scope, sent, self.access)
        else:
            await self.app(scope, receive, sent)


def refusal_of(scope: Scope, access: Access) -> Refusal | None:
    """Why a request is refused; None for a request of the page, and for one that opens it with the right token."""
    return _foreign(scope, access) or _unknown(scope, access) or _forged(scope)


def opens(scope: Scope) -> bool:
    """Whether a request has the address that is printed, with a right or a wrong token."""
    return scope["method"] in ("GET", "HEAD") and scope["path"] == "/" and bool(_tokens(scope))


def _foreign(scope: Scope, access: Access) -> Refusal | None:
    """Refuses what no browser sends that shows this page."""
    if scope["method"] not in METHODS:
        return Refusal(405, "Only GET, HEAD and POST are served.", ((b"allow", ", ".join(METHODS).encode()),))
    hosts = [host.lower() for host in values(scope, b"host")]
    if len(hosts) != 1 or hosts[0] not in access.hosts:
        return Refusal(
            403, f"This server answers as 127.0.0.1:{access.port} and localhost:{access.port} only. {OPEN_AGAIN}"
        )
    if values(scope, b"upgrade"):
        return Refusal(400, "This server has no other protocol than HTTP.")
    if any(origin != f"http://{hosts[0]}" for origin in values(scope, b"origin")):
        return Refusal(403, "A page of another origin may not use this server.")
    sites = values(scope, b"sec-fetch-site")
    if not opens(scope) and any(site not in ("same-origin", "none") for site in sites):
        return Refusal(403, f"Another page has led here. {OPEN_AGAIN}")
    return None


def _unknown(scope: Scope, access: Access) -> Refusal | None:
    """Refuses a request with a wrong token, and one with neither token nor cookie."""
    if opens(scope):
        tokens = _tokens(scope)
        known = len(tokens) == 1 and _equal(tokens[0], access.token)
    else:
        known = any(_equal(value, access.secret) for value in _cookies(scope, access.cookie))
    return None if known else Refusal(403, OPEN_AGAIN)


def _forged(scope: Scope) -> Refusal | None:
    """Refuses a POST that a form of another page could have sent."""
    if scope["method"] != "POST":
        return None
    if not values(scope, b"origin") and "same-origin" not in values(scope, b"sec-fetch-site"):
        return Refusal(403, "A POST needs the header Origin, with the address of this page.")
    if values(scope, b"x-review") != ["1"]:
        return Refusal(403, "A POST needs the header X-Review: 1.")
    kinds = [kind.partition(";")[0].strip().lower() for kind in values(scope, b"content-type")]
    if any(kind in FORMS for kind in kinds):
        return Refusal(415, "Expected application/json, or application/octet-stream for a file.")
    return None


def _tokens(scope: Scope) -> list[str]:
    try:
        return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=20).get(
            "token", []
        )
    except ValueError:
        return []


def _cookies(scope: Scope, name: str) -> Iterator[str]:
    """The values of all cookies of a name: another server of this host may have set one beside ours."""
    for header in values(scope, b"cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value


def _equal(value: str, secret: str) -> bool:
    """Whether a value is the secret; the time that it takes says nothing about the secret."""
    return secrets.compare_digest(value.encode(), secret.encode())


async def _opened(scope: Scope, send: Send, access: Access) -> None:
    """Set the cookie and lead to the page.

    After a link in another page, a browser does not send a strict cookie along a redirect. A page of our own then leads
    on, as if the person had gone there from here.
    """
    cookie = f"{access.cookie}={access.secret}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"set-cookie", cookie.encode())]
    if all(site in ("same-origin", "none") for site in values(scope, b"sec-fetch-site")):
        await answer(send, 303, b"", "text/plain", [(b"location", b"/"), *headers])
    else:
        page = b'<!doctype html><html lang="en"><meta http-equiv="refresh" content="0;url=/"><title>Review</title>'
        await answer(send, 200, page + b'<a href="/">Go on to the page</a>', "text/html; charset=utf-8", headers)


def _with_headers(message: Message) -> Message:
    """A message of an answer, with the headers of every answer where it has headers."""
    if message["type"] != "http.response.start":
        return message
    headers: list[Any] = list(message.get("headers", []))
    names = {name.lower() for name, _ in headers}
    return {**message, "headers": [*headers, *(pair for pair in (*HEADERS, NO_STORE) if pair[0] not in names)]}


async def _no_other(scope: Scope, send: Send) -> None:
    """Close a WebSocket; there is none."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
