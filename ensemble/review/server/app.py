"""The page as an application of Starlette: its addresses, and what stands before all of them."""

from typing import TYPE_CHECKING, cast

from ensemble.review.routes import map as map_part
from ensemble.review.routes import marks, overview, page, search, sound, threshold, triage, verdicts
from ensemble.review.server.asgi import App
from ensemble.review.server.failures import Reported, handlers
from ensemble.review.server.guard import Access, Guard
from ensemble.review.server.limits import Limits
from ensemble.review.session import Session

if TYPE_CHECKING:
    from starlette.applications import Starlette

PARTS = (page, overview, triage, sound, marks, map_part, threshold, search, verdicts)


def application(session: Session) -> "Starlette":
    """The application of a session, without a guard. Errors are JSON: {"error": text}."""
    from starlette.applications import Starlette

    app = Starlette(routes=[route for part in PARTS for route in part.routes()], exception_handlers=handlers())
    app.router.redirect_slashes = False
    app.state.session = session
    return app


def protected(app: "Starlette", access: Access) -> App:
    """An application behind its guard and its limits, as it is served."""
    return Guard(Reported(Limits(cast("App", app))), access)
