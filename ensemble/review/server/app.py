"""The page as an application of Starlette: its addresses, and what stands before all of them."""

from typing import TYPE_CHECKING

from ensemble.review.routes import map as map_part
from ensemble.review.routes import marks, overview, page, search, sound, threshold, triage, verdicts
from ensemble.review.session import Session

if TYPE_CHECKING:
    from starlette.applications import Starlette

PARTS = (page, overview, triage, sound, marks, map_part, threshold, search, verdicts)


def application(session: Session) -> "Starlette":
    """The application of a session, without a guard."""
    from starlette.applications import Starlette

    app = Starlette(routes=[route for part in PARTS for route in part.routes()])
    app.state.session = session
    return app
