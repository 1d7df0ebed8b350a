"""Answers of the page: parts of HTML from templates, and errors that a person can read."""

from typing import TYPE_CHECKING

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
