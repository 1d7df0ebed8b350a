"""The part overview of the page: a tile per machine and section."""

from typing import TYPE_CHECKING

from ensemble.page.overview.tiles import overview
from ensemble.review.answer import session_of
from ensemble.review.saved import thresholds_of_run, unused_text
from featstore.errors import DataError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [Route("/parts/overview", shown)]


def shown(request: "Request") -> "Response":
    """The overview with the marks of this moment."""
    from starlette.responses import HTMLResponse

    session = session_of(request)
    found = session.items
    try:
        remark = unused_text(len(thresholds_of_run(session.results, found.scored)[1]))
    except DataError as error:  # somebody has edited the file meanwhile
        remark = str(error)
    remark = " ".join(filter(None, (session.replaced, remark)))
    tiles = overview(found.scored, links=True, marked=session.marked, found=found, remark=remark)
    return HTMLResponse(f"<h2>Overview</h2>\n{tiles}", headers={"Cache-Control": "no-store"})
