"""What the parts map and search of a page keep in memory."""

from typing import TYPE_CHECKING

from ensemble.review.answer import session_of
from ensemble.review.session import Session
from ensemble.review.space.maps import Maps
from ensemble.review.space.turns import Turns
from ensemble.review.space.views import Views

if TYPE_CHECKING:
    from starlette.requests import Request

WAITING = 4
"""Most searches that wait for the one that runs."""


class Space:
    """The views, maps and searches of a session."""

    def __init__(self, session: Session) -> None:
        self.views = Views(session)
        self.maps = Maps(session, self.views)
        self.turns = Turns(WAITING)


def space_of(request: "Request") -> Space:
    """The space of the session that a request belongs to."""
    session, state = session_of(request), request.app.state
    with session.lock:
        if getattr(state, "space", None) is None:
            state.space = Space(session)
        space: Space = state.space
        return space
