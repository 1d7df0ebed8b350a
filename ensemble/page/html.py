"""Fills the templates of the report; all text is escaped.

The page's content security policy forbids the network, forms, and all scripts but the two that are in it, which it
names by their hashes; it allows inline styles and embedded media.
"""

import base64
import hashlib
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

SCRIPTS = ("player.js", "cards.js")
"""Scripts of the report, in static/; each stands alone."""


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
    style, *scripts = (_file(name) for name in ("page.css", *(f"static/{script}" for script in SCRIPTS)))
    shown = [Markup(script) for script in scripts]
    head = {"title": title, "style": Markup(style), "scripts": shown, "policy": policy(scripts)}
    return str(render("report.html", **head, **values))


def policy(scripts: Iterable[str]) -> Markup:
    """The content security policy of a page that runs these inline scripts and loads nothing."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{digest}'" for digest in hashes),
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "media-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return Markup("; ".join(f"{kind} {source}" for kind, source in allowed.items()))


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
