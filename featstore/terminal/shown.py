"""Text that people read: on a terminal, in a log, in a report. Here, and only here, what may be shown is decided.

Names of files and machines, attributes, reasons of decoders and text of foreign files may hold anything. Shown as they
are, an escape sequence moves the cursor or renames the window, a line break forges a line, and a control of the writing
direction turns a name round. All of them, and every other character that has no shape of its own, are shown as escapes.
The data stay as they are.
"""

import json
from collections.abc import Sequence

SHOWN_NAMES, NAME_WIDTH = 3, 100


class Block(str):
    """Lines whose parts were escaped already, such as those of a table; line breaks and styles are its own."""

    __slots__ = ()


def printable(text: str) -> str:
    """Text as one line that no terminal takes for a command: controls and characters without a shape as escapes.

    Escaped are what Python calls not printable: C0 and C1 controls, line and paragraph separators, controls of the
    writing direction, characters of no width, blanks other than the plain one, and the surrogates that stand for bytes
    of names that are not UTF-8.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str, width: int) -> str:
    """Printable text, cut to `width` characters."""
    safe = printable(text)
    return safe if len(safe) <= width else safe[: width - 1] + "…"


def block(*parts: str, between: str = "\n") -> Block:
    """Lines and Blocks below each other; lines are escaped."""
    return Block(between.join(part if isinstance(part, Block) else printable(part) for part in parts))


def json_text(value: object, *, allow_nan: bool = True) -> str:
    """A value as one line of JSON in printable ASCII."""
    return json.dumps(value, allow_nan=allow_nan).replace("\x7f", "\\u007f")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 clip, 1,234 clips; plural: of a noun that takes more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def counted_names(names: Sequence[str], noun: str, total: int | None = None) -> str:
    """A number of things and the first names: `4 machines (bearing, fan, gearbox, ...)`; total: all."""
    number = len(names) if total is None else total
    shown = [one_line(name, NAME_WIDTH) for name in names[:SHOWN_NAMES]]
    more = ["..."] if number > len(shown) else []
    return counted(number, noun) + (f" ({', '.join([*shown, *more])})" if shown else "")
