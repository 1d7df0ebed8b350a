"""The part search of the page: the recordings of the store most similar to a file, or to one of its clips."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ensemble.review.answer import part, session_of
from ensemble.review.space.found import FOUND, MOST, by_clip, by_file, matches, search_of
from ensemble.review.space.opened import space_of
from ensemble.review.space.query import answered, query_of, refused
from ensemble.review.space.turns import Busy
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

BUSY = "several searches are running; try again in a few seconds"


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
    with answered():
        store = session_of(request).store
        space = space_of(request)
        space.prepare()
        default = space.views.checked("")
        machines = sorted({name for each in store.embeddings for name in store.clips(each).column("machine").tolist()})
        quoted = [(quote(name, safe="", errors="surrogateescape"), name) for name in machines]
        values = {"views": view_names(store), "machines": quoted, "splits": SPLITS}
        return part("search.html", default=default, k=FOUND, most=MOST, megabytes=LARGEST >> 20, **values)


async def search(request: "Request") -> "Response":
    """Cards of the recordings most similar to the body, a file of sound; its `name` is for display only.

    413 for a body that is too large, 422 with the reason for one that is no usable sound, 503 where too many wait.
    """
    from starlette.concurrency import run_in_threadpool

    query = query_of(request)
    name = one_line(query.get("name", "") or "the file", 200)
    space = space_of(request)
    try:
        with space.turns.place(), tempfile.TemporaryDirectory(prefix="search-") as folder:
            file = Path(folder, "recording")
            await _received(request, file)
            return await run_in_threadpool(_answer, request, query, file, name)
    except Busy as error:
        raise refused(503, BUSY) from error


async def like(request: "Request") -> "Response":
    """Cards of the recordings most similar to a clip of the store; 404 for an unknown clip."""
    from starlette.concurrency import run_in_threadpool

    query, space = query_of(request), space_of(request)
    try:
        with space.turns.place():
            return await run_in_threadpool(_answer, request, query, None, "")
    except Busy as error:
        raise refused(503, BUSY) from error


async def _received(request: "Request", file: Path) -> None:
    """Write the body to a file, block by block."""
    too_large = refused(413, f"the file is larger than {LARGEST >> 20} MiB; cut a part of it, or use detect neighbours")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > LARGEST:
        raise too_large
    size = 0
    with file.open("wb") as target:
        async for block in request.stream():
            size += len(block)
            if size > LARGEST:
                raise too_large
            target.write(block)


def _answer(request: "Request", query: Mapping[str, str], file: Path | None, name: str) -> "Response":
    """The cards; file: None for a clip of the store, which the query names."""
    session, space = session_of(request), space_of(request)
    with answered(), space.turns.turn():
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
