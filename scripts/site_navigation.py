"""The navigation of the documentation site: the sections of docs/site.toml with the pages that exist."""

import fnmatch
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

SECTIONS = Path(__file__).resolve().parents[1] / "docs" / "site.toml"


def read_sections(path: Path = SECTIONS) -> list[dict[str, Any]]:
    """The sections: each has a title, and pages that are paths, patterns or sections."""
    sections: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["section"]
    return sections


def navigation(pages: Collection[str], sections: Iterable[dict[str, Any]]) -> list[Any]:
    """MkDocs' `nav`: titles with lists of pages; empty sections and pages that do not exist are left out.

    ValueError names the pages that are in no section.
    """
    chosen = list(sections)
    named = {entry for entry in _entries(chosen) if "*" not in entry}
    left = sorted(set(pages) - named)
    nav = [_section(section, set(pages), left) for section in chosen]
    if left:
        raise ValueError(f"pages in no section: {', '.join(left)}; add each to a section of docs/{SECTIONS.name}")
    return [section for section in nav if any(section.values())]


def _section(section: dict[str, Any], pages: set[str], left: list[str]) -> dict[str, list[Any]]:
    """One section; takes from `left` what its patterns match."""
    inside: list[Any] = []
    for entry in section["pages"]:
        if not isinstance(entry, str):
            part = _section(entry, pages, left)
            inside += [part] if any(part.values()) else []
        elif "*" in entry:
            found = fnmatch.filter(left, entry)
            inside += found
            left[:] = [page for page in left if page not in found]
        elif entry in pages:
            inside.append(entry)
    return {section["title"]: inside}


def _entries(sections: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Every path and pattern of the sections, at any depth."""
    for section in sections:
        for entry in section["pages"]:
            if isinstance(entry, str):
                yield entry
            else:
                yield from _entries([entry])
