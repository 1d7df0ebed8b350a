"""The part map of the page: an embedding in two dimensions."""

from typing import TYPE_CHECKING

from ensemble.review.answer import json_answer, part, session_of
from ensemble.review.asked import choice_in, query_of
from ensemble.review.projection import INSTALL, METHODS, MOST, PCA, UMAP, has_umap
from ensemble.review.space.opened import space_of
from ensemble.review.space.points import points_json
from ensemble.review.space.views import view_names

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

TITLES = {PCA: "PCA (at once)", UMAP: "UMAP (slower)"}


def routes() -> "list[Route]":
    """The addresses."""
    from starlette.routing import Route

    return [Route("/parts/map", show), Route("/map/points", points)]


def show(request: "Request") -> "Response":
    """The part without its points."""
    store = session_of(request).store
    methods = [(name, TITLES[name], name != UMAP or has_umap()) for name in METHODS]
    default = space_of(request).views.checked("")
    return part("map.html", views=view_names(store), default=default, methods=methods, install=INSTALL, most=MOST)


def points(request: "Request") -> "Response":
    """The points of a view as JSON, see `points_json`; 202 with the seconds since its start while it is computed."""
    from starlette.responses import Response

    query = query_of(request)
    method = choice_in(query, "method", METHODS, PCA)
    generated = choice_in(query, "generated", ["0", "1"], "0") == "1"
    space = space_of(request)
    shown = space.maps.map(space.views.checked(query.get("view", "")), method, generated=generated)
    if isinstance(shown, int):
        return json_answer({"computing": shown}, 202)
    return Response(points_json(shown, session_of(request)), media_type="application/json")
