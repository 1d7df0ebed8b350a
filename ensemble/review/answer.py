"""Answers of the page: parts of HTML from templates, and JSON for its scripts."""

import json
from typing import TYPE_CHECKING, Any

from ensemble.page.html import render
from ensemble.review.session import Session

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def session_of(request: "Request") -> Session:
    """The session that a request belongs to."""
    session: Session = request.app.state.session
    return session


def part(template: str, /, **values: object) -> "Response":
    """A part of the page from a template."""
    from starlette.responses import HTMLResponse

    return HTMLResponse(str(render(template, **values)))


def json_answer(value: Any, status: int = 200) -> "Response":
    """A value as JSON."""
    from starlette.responses import Response

    return Response(compact(value), status, media_type="application/json")


def compact(value: Any) -> bytes:
    """JSON without blanks, in ASCII: names that are not UTF-8 are escaped. ValueError for NaN and infinity."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
