"""The shell of the page and its scripts and styles, which are files of the package and nothing else."""

from importlib.resources import files
from typing import TYPE_CHECKING

from ensemble.review.answer import part, session_of
from featstore.errors import RequestError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

PARTS = (
    ("overview", "Overview"),
    ("triage", "Triage"),
    ("map", "Map"),
    ("threshold", "Threshold"),
    ("search", "Search"),
    ("verdicts", "Verdicts"),
)
KINDS = {".js": "text/javascript", ".css": "text/css"}


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [Route("/", shell), Route("/static/{name}", static)]


def shell(request: "Request") -> "Response":
    """The page without its parts."""
    scored = session_of(request).scored
    values = {"bounded": scored.bounded, "labelled": bool(scored.metrics)}
    return part("review.html", title=scored.title, parts=PARTS, **values)


def static(request: "Request") -> "Response":
    """A script or a style of the package."""
    from starlette.responses import Response

    name = request.path_params["name"]
    kind = KINDS.get(f".{name.rpartition('.')[2]}")
    file = _files().get(name) if kind else None
    if file is None:
        raise RequestError("The page has no such file.")
    return Response(file.read_bytes(), media_type=kind)


def _files() -> "dict[str, Traversable]":
    """The files of the package that a page may have, by name; a name is looked up here and is never part of a path."""
    package = files("ensemble.page")
    return {file.name: file for file in (package.joinpath("page.css"), *package.joinpath("static").iterdir())}
