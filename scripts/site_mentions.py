"""Where a page mentions something in its code: sections, and the command lines that it shows."""

import re
import textwrap
from collections.abc import Callable, Iterator

FENCED = re.compile(r"^[ ]*```(\w*)[^\n]*\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
CONSOLE = {"console", "bash", "sh"}
PROGRAMS = ("featstore ", "detect ")
ERROR = re.compile(r"error:", re.IGNORECASE)


def title(text: str) -> str:
    """The first heading of a page."""
    heading = HEADING.search(_without_comments_of_code(text))
    return heading[1] if heading else ""


def slug(heading: str) -> str:
    """What a heading is called in links, as in the viewer of the repository."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections_where(text: str, is_meant: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Heading and anchor of every section that has a certain line of code; both are empty for the top of the page."""
    headings = list(HEADING.finditer(_without_comments_of_code(text)))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    found: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for heading, end in zip(headings, ends, strict=True):
        anchor = slug(heading[1])
        seen[anchor] = seen.get(anchor, -1) + 1
        if any(map(is_meant, code_lines(text[heading.end() : end]))):
            whole = f"{anchor}_{seen[anchor]}" if seen[anchor] else anchor
            found.append(("", "") if heading[0].startswith("# ") else (heading[1], whole))
    return found


def code_lines(text: str) -> Iterator[str]:
    """Every line of code: in blocks, and within text."""
    for language, block in FENCED.findall(text):
        if language in {*CONSOLE, "text", ""}:
            yield from _joined(block).split("\n")
    rest = FENCED.sub("", text)
    for block in INDENTED.findall(rest):
        yield from _joined(block).split("\n")
    yield from (" ".join(span.split()) for span in CODE.findall(INDENTED.sub("", rest)))


def shown_lines(text: str) -> Iterator[str]:
    """Every command line that a page shows, with its `$`; without those that are cut, or whose output is an error."""
    for language, block in FENCED.findall(text):
        if language in CONSOLE:
            for line, *output in _commands(_joined(textwrap.dedent(block))):
                if not any(ERROR.match(told) for told in output):
                    yield re.sub(r"[ ]{2,}#", "  #", line)
    for block in INDENTED.findall(FENCED.sub("", text)):
        for line in _joined(textwrap.dedent(block)).split("\n"):
            if line.startswith(PROGRAMS) and not line.endswith(("\\", "...")):
                yield re.sub(r"[ ]{2,}#", "  #", f"$ {line}")


def _commands(block: str) -> Iterator[list[str]]:
    """The commands of a console block, each with the lines of its output."""
    for part in re.split(r"^(?=\$ )", block, flags=re.MULTILINE):
        if part.startswith("$ "):
            yield part.split("\n")


def _joined(block: str) -> str:
    """A block whose continued lines are one."""
    return re.sub(r"\s*\\\n\s*", " ", block)


def _without_comments_of_code(text: str) -> str:
    """The text, of equal length, in which no line of code looks like a heading."""
    return FENCED.sub(lambda match: re.sub(r"^#", " ", match[0], flags=re.MULTILINE), text)
