#!/usr/bin/env python3
"""Every module with the first sentence of its docstring: print the list, or --write it into docs/architecture.md.

    python scripts/file_list.py [--write]

A package is represented by the sentence of its `__init__.py`, a shell script by its first comment.
"""

import argparse
import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("featstore", "embedders", "detectors", "ensemble", "scripts")
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- modules: written by scripts/file_list.py -->\n", "<!-- end of modules -->\n"


def sentence(path: Path) -> str:
    """The first sentence that a module or a shell script says about itself."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(source)) or ""
    else:
        text = source.partition("\n")[2].split("\nset ")[0].replace("# ", "")
    first = re.split(r"(?<!et al)\.(?=\s|$)|(?<=\?)\s|\n\n", text, maxsplit=1)[0]
    return " ".join(first.split())


def listed_files(folder: Path) -> list[Path]:
    """Modules and shell scripts in the folder itself, without `__init__.py`, which stands for the folder."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix in {".py", ""} and path.name not in {"__init__.py", "py.typed"}
    )


def file_list(root: Path = ROOT) -> str:
    """Markdown: a block of text for each package, with every module's path and sentence."""
    blocks = []
    for name in FOLDERS:
        lines = []
        folders = [root / name, *sorted(path for path in (root / name).rglob("*") if (path / "__init__.py").is_file())]
        for folder in folders:
            about = folder / "__init__.py"
            title = sentence(about) if about.is_file() else ""
            lines.append(f"{folder.relative_to(root)}/  {title}".rstrip())
            files = listed_files(folder)
            width = max((len(path.name) for path in files), default=0)
            lines += [f"    {path.name:<{width}}  {sentence(path)}" for path in files]
        blocks.append("```text\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(blocks)


def with_list(page: str, listing: str) -> str:
    """The page with the list between its two markers; ValueError where a marker is missing."""
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"expected one line {START.strip()!r} and one line {END.strip()!r}")
    head, rest = page.split(START)
    return f"{head}{START}\n{listing}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Print or write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write the list into {PAGE.relative_to(ROOT)}")
    if parser.parse_args().write:
        PAGE.write_text(with_list(PAGE.read_text(encoding="utf-8"), file_list()), encoding="utf-8")
    else:
        print(file_list())


if __name__ == "__main__":
    main()
