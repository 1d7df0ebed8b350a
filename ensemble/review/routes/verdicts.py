"""The part verdicts of the page."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import Route


def routes() -> "list[Route]":
    """The addresses."""
    return []
