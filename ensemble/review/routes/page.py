"""The shell of the page and its scripts and styles, which are files of the package and nothing else."""

from importlib.resources import files
from typing import TYPE_CHECKING

from ensemble.review.answer import part, session_of

if TYPE_CHECKING:
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
    return part("review.html", title=session_of(request).scored.title, parts=PARTS)


def static(request: "Request") -> "Response":
    """A script or a style of the package."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    name = request.path_params["name"]
    source = _sources().get(name)
    if source is None:
        raise HTTPException(404, "no such file")
    return Response(source, media_type=KINDS["." + name.rpartition(".")[2]])


def _sources() -> dict[str, bytes]:
    package = files("ensemble.page")
    found = [package.joinpath("page.css"), *package.joinpath("static").iterdir()]
    return {file.name: file.read_bytes() for file in found if "." + file.name.rpartition(".")[2] in KINDS}
