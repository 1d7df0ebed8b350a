"""Fills the templates of the report; all text is escaped.

The page's content security policy forbids scripts and network access; it allows inline styles and embedded media.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from featstore.terminal.shown import Block, printable

if TYPE_CHECKING:
    from jinja2 import Environment

EMPTY = Markup("")


@cache
def environment() -> "Environment":
    """The template environment: text is escaped for HTML and for the eye, floats are written with five digits.

    An undefined name is an error.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    templates.filters["name"] = name
    return templates


def _shown(value: object) -> object:
    """A value as a template writes it."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup | Block) else value


def render(template: str, /, **values: object) -> Markup:
    """Fill a template with values."""
    return Markup(environment().get_template(template).render(values))


def macros(template: str) -> Any:
    """The macros of a template, as functions that return Markup."""
    return environment().get_template(template).module


def name(text: str) -> Markup:
    """A file or machine name, isolated from the writing direction around it; lines may break between its parts."""
    parts = [part for part in re.findall(r"[^/_,]*[/_,]?", printable(text)) if part]
    return Markup('<bdi class="name">{}</bdi>').format(Markup("<wbr>").join(parts))


def share_bar(share: float, largest: float) -> Markup:
    """A share in percent, behind a bar whose length is relative to the largest share."""
    bar = '<span class="share" style="width:{}px" aria-hidden="true"></span> {:.1f}'
    return Markup(bar).format(max(1, round(80 * share / largest)), 100 * share)


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> Markup:
    """A table with a caption and column headings; the first `text_columns` hold text, the others numbers."""
    sides = ["text" if i < text_columns else "number" for i in range(len(header))]
    return Markup(macros("table.html").table(caption, header, rows, sides))


def page(title: str, **values: object) -> str:
    """The whole page, see report.html."""
    style = Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))
    return render("report.html", title=title, style=style, **values)
