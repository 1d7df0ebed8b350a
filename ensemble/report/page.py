"""HTML that cannot be broken by what it shows: text is escaped unless it is Html already.

The page refuses every request by its own policy: no scripts, no network; only its own styles and embedded media.
"""

import html
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

VOID = frozenset({"br", "img", "meta", "wbr"})
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


class Html(str):
    """Text that is markup; everything else is escaped where it meets a tag."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as markup; names that are not UTF-8 show replacement characters."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")))


def join(parts: Iterable[str]) -> Html:
    """All parts one after the other."""
    return Html("".join(map(escape, parts)))


def tag(element: str, /, *children: str, **attributes: object) -> Html:
    """One element. `class_`, `aria_label` become `class`, `aria-label`; True makes a bare attribute, None none."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(_text(value))}"')
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{element}{given}>" if element in VOID else f"<{element}{given}>{join(children)}</{element}>")


def _text(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def name(text: str) -> Html:
    """A file or machine name: of one piece whatever its writing direction, breakable between its parts."""
    parts = re.findall(r"[^/_,]*[/_,]?", text)
    broken = [piece for part in parts if part for piece in (part, tag("wbr"))]
    return tag("bdi", *broken[:-1], class_="name")


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str | float]], *, text_columns: int = 1) -> Html:
    """A table with caption and column headings; the first `text_columns` are left-aligned, the rest are numbers."""
    sides = ["text" if i < text_columns else "number" for i in range(len(header))]
    head = join(tag("th", one, scope="col", class_=side) for one, side in zip(header, sides, strict=True))
    body = (
        join(
            tag("td", _text(cell) if not isinstance(cell, str) else cell, class_=side)
            for cell, side in zip(row, sides, strict=True)
        )
        for row in rows
    )
    content = tag("caption", caption) + tag("thead", tag("tr", head)) + tag("tbody", *(tag("tr", row) for row in body))
    return tag("div", tag("table", Html(content)), class_="scroll", tabindex="0", role="region", aria_label=caption)


def section(identifier: str, title: str, *content: str) -> Html:
    """A part of the page with a heading that can be linked to."""
    return tag("section", tag("h2", title), *content, id=identifier)


def page(title: str, lead: str, parts: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """The whole document; each part is (identifier, title, content)."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    links = join(tag("a", heading, href=f"#{identifier}") for identifier, heading, _ in parts)
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", Html(style)),
        ]
    )
    body = join(
        [
            tag("header", tag("h1", title), lead),
            tag("nav", links, aria_label="Parts of the report"),
            tag("main", *(section(identifier, heading, *content) for identifier, heading, content in parts)),
        ]
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'
