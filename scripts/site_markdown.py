"""Markdown as the repository shows it, to Markdown as the site's builder reads it: links, lists, drawings.

The pages are written for a viewer of the repository (CommonMark with tables). The builder of the site wants a blank
line before a list and four spaces below a list item, shows no Mermaid, and knows only the pages of the site.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^([ ]*)(`{3,}|~{3,})[ ]*(\w*)")
ITEM = re.compile(r"^([ ]*)([-*+]|\d{1,9}[.)])([ ]+)(?=\S)")
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
SPAN = r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n[ ]*\n).)+?(?<!`)(?P=ticks)(?!`)"
LINK = r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)(?P<title>\s+\"[^\"]*\")?\)"
CODE_OR_LINK = re.compile(f"{SPAN}|{LINK}", re.DOTALL)
ATTRIBUTE = re.compile(r"(?<=[ \n])(src|href|srcset)=\"([^\"]+)\"")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)
NODE = re.compile(r"^\s*([\w.]+) --> ([\w.]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """Where a link leads: an address on the site or elsewhere, or a path in the repository that is not on the site."""

    address: str
    is_path: bool = False


Link = Callable[[str], Place]


def for_site(text: str, link: Link = Place) -> str:
    """The page for the site.

    link: where the target of a link leads. A link to a path that is not on the site becomes its text, with the path as
    code.
    """
    parts = [
        part if is_code else _linked(COMMENT.sub("", part), link) for is_code, part in _parts(_indented_by_four(text))
    ]
    return "".join(map(_without_mermaid, parts))


def site_address(source: str, place: str, places: Mapping[str, str], root: Path) -> Link:
    """Where the links of a page lead on the site.

    source: path of the page in the repository. place: its path on the site. places: path on the site of every file of
    the repository that is on it. A link to a file that does not exist stays, and the site's builder complains of it.
    """

    def address(target: str) -> Place:
        if ELSEWHERE.match(target):
            return Place(target)
        path, mark, anchor = target.partition("#")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if wanted in places:
            return Place(posixpath.relpath(places[wanted], posixpath.dirname(place) or ".") + mark + anchor)
        return Place(wanted, is_path=True) if (root / wanted).exists() else Place(target)

    return address


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """The fenced blocks of a page, and what stands between them, in order: (is code, text)."""
    lines: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        opening = FENCE.match(line)
        if fence:
            lines.append(line)
            if _closes(line, fence):
                yield True, "".join(lines)
                lines, fence = [], ""
        elif opening:
            yield False, "".join(lines)
            lines, fence = [line], opening[2]
        else:
            lines.append(line)
    yield bool(fence), "".join(lines)


def _linked(text: str, link: Link) -> str:
    """The text with every link, picture and HTML attribute leading to a place of the site."""

    def replaced(match: re.Match[str]) -> str:
        if match["target"] is None:
            return match[0]
        # a picture within the text of a link is a link itself
        inner, place = CODE_OR_LINK.sub(replaced, match["text"]), link(match["target"])
        if not place.is_path:
            return f"{match['image']}[{inner}]({place.address}{match['title'] or ''})"
        path = f"`{place.address}`"
        is_its_name = inner.strip("`") in (place.address, posixpath.basename(place.address))
        return path if is_its_name else f"{inner} ({path})"

    text = CODE_OR_LINK.sub(replaced, _plain_bars(text).replace("<details>", '<details markdown="1">'))
    return ATTRIBUTE.sub(lambda match: f'{match[1]}="{link(match[2]).address}"', text)


def _plain_bars(text: str) -> str:
    r"""A bar within code needs no backslash on the site: `a\|b` in a table is shown as written there."""
    return re.sub(SPAN, lambda match: match[0].replace(r"\|", "|"), text, flags=re.DOTALL)


def _without_mermaid(part: str) -> str:
    """A drawing of arrows as a table, since the site loads no program that draws; any other part as it is."""
    opening = FENCE.match(part)
    if opening is None or opening[3] != "mermaid":
        return part
    targets: dict[str, list[str]] = {}
    for node, target in NODE.findall(part):
        targets.setdefault(node, []).append(f"`{target}`")
    rows = [f"| `{node}` | {', '.join(of)} |\n" for node, of in targets.items()]
    return "\n| folder | imports |\n|---|---|\n" + "".join(rows)


def _indented_by_four(text: str) -> str:
    """The page with a blank line before every list, and four spaces for every level of a list."""
    lists = _Lists()
    out: list[str] = []
    fence = ""
    for line in text.rstrip("\n").split("\n"):
        if fence:
            out.append(_moved(line, lists.shift))
            fence = "" if _closes(line, fence) else fence
        elif not line.strip():
            out.append("")
        else:
            out += lists.placed(line, out[-1] if out else "")
            opening = FENCE.match(line)
            fence = opening[2] if opening else ""
    return "\n".join(out) + "\n"


class _Lists:
    """The open lists at a line of a page. offsets: column where the text of each item begins, from the outermost."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.shift = 0

    def placed(self, line: str, above: str) -> list[str]:
        """The line where the site wants it, after a blank line where one is missing."""
        indent = _indent(line)
        depth = sum(offset <= indent for offset in self.offsets)
        item = ITEM.match(line)
        if item and indent - (self.offsets[depth - 1] if depth else 0) >= 4:
            item = None  # that deep, it is code
        if item and above.strip() and not self.offsets and item[2][0].isdigit() and item[2][:-1] != "1":
            item = None  # a number within a paragraph
        if above.strip() and not item and not FENCE.match(line) and not line.startswith("#"):  # goes on from above
            return [_moved(line, max(self.shift, 4 * len(self.offsets) - indent)) if self.offsets else line]
        gap = [""] if item and above.strip() and not self.offsets else []
        self.offsets = self.offsets[:depth]
        if item:
            placed = f"{'    ' * depth}{item[2].replace(')', '.')} {line[item.end() :]}"
            self.offsets.append(item.end())
        self.shift = 4 * len(self.offsets) - (self.offsets[-1] if self.offsets else 0)
        return [*gap, placed if item else _moved(line, self.shift)]


def _closes(line: str, fence: str) -> bool:
    """Whether a line ends the block that `fence` began."""
    return line.strip().startswith(fence) and not line.strip().strip(fence[0])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _moved(line: str, shift: int) -> str:
    """A line moved to the right, or to the left as far as it is blank there."""
    return " " * max(0, _indent(line) + shift) + line.lstrip(" ") if line.strip() else ""
