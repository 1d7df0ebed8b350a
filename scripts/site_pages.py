#!/usr/bin/env python3
"""Gather the pages of the documentation site in a folder, with the configuration of its builder beside them.

    python scripts/site_pages.py [OUT]

OUT (default build): OUT/docs gets the pages, OUT/mkdocs.yml the configuration. The pages are docs/, the README as
index.md, the store format, the examples of docs/examples, and the generated reference of commands and Python API.
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from site_api import api_pages, read_api
from site_commands import command_pages
from site_markdown import for_site, site_address
from site_navigation import navigation, read_sections

ROOT = Path(__file__).resolve().parents[1]
HOME = "index.md"
WITHOUT_MENU = "---\nhide: [navigation]\n---\n\n"
API = "docs/api.toml"
MOVED = {"README.md": HOME, "featstore/FORMAT.md": "reference/store_format.md", API: "reference/python/index.md"}
"""Places of files outside docs/, and of the list of the public names, whose page is generated."""

NOT_SHOWN = {".toml", ".yml", ".py"}
EXAMPLES = "docs/examples/"
NOT_EXPLAINING = ("architecture.md", "changelog.md", "contributing.md", "decisions.md")
"""Pages in which a mention of a command explains nothing."""


def places(root: Path = ROOT) -> dict[str, str]:
    """Path on the site of every file that is on it, by its path in the repository."""
    files = [path.relative_to(root).as_posix() for path in sorted((root / "docs").rglob("*")) if path.is_file()]
    shown = {file: file.removeprefix("docs/") for file in files if Path(file).suffix not in NOT_SHOWN}
    scripts = [file for file in files if file.startswith(EXAMPLES) and file.endswith(".py")]
    return MOVED | shown | {file: f"examples/{Path(file).stem}.md" for file in scripts}


def example_page(source: str) -> str:
    """Markdown of an example, which is a script of cells (`# %%`)."""
    import jupytext

    cells = [cell for cell in jupytext.reads(source, fmt="py:percent").cells if cell.cell_type != "raw"]
    parts = [cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```" for cell in cells]
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def pages_by_hand(root: Path = ROOT) -> dict[str, str]:
    """Markdown of the pages that people write, as the site wants it, by their path on the site."""
    of = places(root)
    texts = {}
    for source, place in of.items():
        if place.endswith(".md") and source != API:
            text = (root / source).read_text(encoding="utf-8")
            text = example_page(text) if source.endswith(".py") else text
            texts[place] = for_site(text, site_address(source, place, of, root))
    texts[HOME] = WITHOUT_MENU + texts[HOME]
    return texts


def explaining(by_hand: Mapping[str, str]) -> dict[str, str]:
    """The pages that explain how a command is used, in the order of the site."""
    order = flat(navigation(by_hand, read_sections()))
    return {page: by_hand[page] for page in order if page not in NOT_EXPLAINING}


def flat(nav: Iterable[Any]) -> Iterator[str]:
    """The pages of a navigation, in order."""
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for inside in entry.values():
                yield from flat(inside)


def stage(out: Path, root: Path = ROOT) -> list[str]:
    """Write the pages below out/docs, and out/mkdocs.yml; returns the paths of all pages.

    ValueError for a page in no section.
    """
    by_hand = pages_by_hand(root)
    texts = {**by_hand, **command_pages(explaining(by_hand)), **api_pages(read_api())}
    shutil.rmtree(out / "docs", ignore_errors=True)
    for source, place in places(root).items():
        if place not in texts:
            (out / "docs" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / source, out / "docs" / place)
    for place, text in texts.items():
        (out / "docs" / place).parent.mkdir(parents=True, exist_ok=True)
        (out / "docs" / place).write_text(text, encoding="utf-8")
    settings = {
        "INHERIT": str(root / "docs" / "mkdocs.yml"),
        "docs_dir": str(out / "docs"),
        "site_dir": str(out / "site"),
        "nav": navigation(texts, read_sections()),
        "plugins": {"mkdocstrings": {"handlers": {"python": {"paths": [str(root)]}}}},
    }
    (out / "mkdocs.yml").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return sorted(texts)


def main() -> None:
    """Gather the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "build", metavar="OUT", help="folder [build]")
    pages = stage(parser.parse_args().out.resolve())
    print(f"{len(pages)} pages")


if __name__ == "__main__":
    main()
