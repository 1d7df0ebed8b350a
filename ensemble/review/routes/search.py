"""The part search of the page: the recordings of the store most similar to a file, or to one of its clips."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble.page.addresses import encoded
from ensemble.review.answer import part, session_of
from ensemble.review.asked import blocks, query_of
from ensemble.review.space.found import FOUND, MOST, by_clip, by_file, matches, search_of
from ensemble.review.space.opened import space_of
from ensemble.review.space.views import view_names
from ensemble.scoring.neighbours import Neighbour
from featstore.clip import SPLITS
from featstore.terminal.shown import one_line

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

LARGEST = 64 << 20
"""Most bytes of a file."""


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [
        Route("/parts/search", show),
        Route("/search", search, methods=["POST"]),
        Route("/search/like", like),
    ]


def show(request: "Request") -> "Response":
    """The form."""
    store = session_of(request).store
    space = space_of(request)
    space.prepare()
    default = space.views.checked("")
    machines = sorted({name for each in store.embeddings for name in store.clips(each).column("machine").tolist()})
    quoted = [(encoded(name), name) for name in machines]
    values = {"views": view_names(store), "machines": quoted, "splits": SPLITS}
    return part("search.html", default=default, k=FOUND, most=MOST, megabytes=LARGEST >> 20, **values)


async def search(request: "Request") -> "Response":
    """Cards of the recordings most similar to the body, a file of sound; its `name` is for display only.

    TooLarge for a larger body, RejectedAudio with the reason for one that is no usable sound, Busy where many wait.
    """
    from starlette.concurrency import run_in_threadpool

    query = query_of(request)
    name = one_line(query.get("name", "") or "the file", 200)
    space = space_of(request)
    with space.turns.place(), tempfile.TemporaryDirectory(prefix="search-") as folder:
        file = Path(folder, "recording")
        with file.open("wb") as target:
            async for block in blocks(request, LARGEST, "cut a part of the file, or use detect neighbours"):
                target.write(block)
        return await run_in_threadpool(_answer, request, query, file, name)


async def like(request: "Request") -> "Response":
    """Cards of the recordings most similar to a clip of the store; RequestError for an unknown clip."""
    from starlette.concurrency import run_in_threadpool

    query, space = query_of(request), space_of(request)
    with space.turns.place():
        return await run_in_threadpool(_answer, request, query, None, "")


def _answer(request: "Request", query: Mapping[str, str], file: Path | None, name: str) -> "Response":
    """The cards; file: None for a clip of the store, which the query names."""
    session, space = session_of(request), space_of(request)
    with space.turns.turn():
        wanted = search_of(query, space.views, session.store)
        rows = space.views.rows(wanted.embedding)
        own: list[Neighbour] = []
        if file is None:
            clip, found = by_clip(session.store, rows, query.get("clip", ""), wanted)
            own, name = [clip], clip.clip.recording
        else:
            found = by_file(session.store, rows, file, name, wanted)
        shown = {"own": matches(session, own), "found": matches(session, found)}
    largest = max((match.distance or 0.0 for match in shown["found"]), default=0.0) or 1.0
    return part("search_found.html", name=name, view=wanted.embedding, largest=largest, **shown)
