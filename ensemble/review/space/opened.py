"""What the parts map and search of a page keep in memory."""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from detectors.search.neighbours import SMALL, nearest
from ensemble.review.answer import session_of
from ensemble.review.session import Session
from ensemble.review.space.maps import Maps
from ensemble.review.space.turns import Turns
from ensemble.review.space.views import Views
from featstore.errors import AsdError

if TYPE_CHECKING:
    from starlette.requests import Request

WAITING = 2
"""Most searches that wait for the one that runs."""


class Space:
    """The views, maps and searches of a session."""

    def __init__(self, session: Session) -> None:
        self.views = Views(session)
        self.maps = Maps(session, self.views)
        self.turns = Turns(WAITING)
        self._prepared = threading.Event()

    def prepare(self) -> None:
        """Read the rows of the default view for the first search, in the background and once.

        Loading the compiled loops takes seconds; a search by numpy, among few rows, does not need them.
        """
        if not self._prepared.is_set():
            self._prepared.set()
            threading.Thread(target=self._prepare, daemon=True).start()

    def _prepare(self) -> None:
        with suppress(AsdError, ValueError), self.turns.turn():
            rows = self.views.rows(self.views.checked(""))
            if rows.matrix.size > SMALL:
                nearest(rows.matrix[:1], rows.matrix, 1)


def space_of(request: "Request") -> Space:
    """The space of the session that a request belongs to."""
    session, state = session_of(request), request.app.state
    with session.lock:
        if getattr(state, "space", None) is None:
            state.space = Space(session)
        space: Space = state.space
        return space
