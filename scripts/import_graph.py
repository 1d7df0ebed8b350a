#!/usr/bin/env python3
"""Which folder imports which, drawn from the imports of every module: print it, or --write it into the docs.

    python scripts/import_graph.py [--write]

Imports inside functions and for types only count too. Files at the root of a package are used everywhere and are not
drawn. An arrow that follows from others (a -> b -> c gives a -> c) is left out.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
PAGE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"(?<=<!-- imports: written by scripts/import_graph.py -->\n)\n```mermaid\n.*?```\n", re.DOTALL)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """File of every module of the packages, by dotted name."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Every module that `source` imports anywhere, as absolute names; `from a import b` counts as a and as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """Imports between the modules of the packages."""
    known, graph = modules(root), {}
    for module, path in known.items():
        names = imports(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
        targets = {name for name in names if name in known}
        # `from a import b` names a too: where b is a module, a itself is not needed
        graph[module] = {t for t in targets if not any(other.startswith(f"{t}.") for other in targets)} - {module}
    return graph


def folders(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Imports between the folders below the packages."""
    between: dict[str, set[str]] = {}
    for module, targets in graph.items():
        for target in targets:
            here, there = (name.rpartition(".")[0] for name in (module, target))
            if here != there and "." in here and "." in there:
                between.setdefault(here, set()).add(there)
    return between


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Circles of a graph: the paths on which a depth-first walk comes back to where it is."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> None:
        if node in path:
            found.append([*path[path.index(node) :], node])
        elif node not in done:
            for target in sorted(graph.get(node, ())):
                walk(target, [*path, node])
            done.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


def reached(graph: dict[str, set[str]], node: str) -> set[str]:
    """Everything that can be reached from a node of a graph without circles."""
    return set().union(*({target} | reached(graph, target) for target in graph.get(node, ())))


def drawing(root: Path = ROOT) -> str:
    """Mermaid text of the folders and their imports."""
    graph = folders(arrows(root))
    lines = ["flowchart TD"]
    names = sorted({*graph, *set().union(*graph.values())})
    for package in PACKAGES:
        inside = [name for name in names if name.startswith(f"{package}.")]
        lines += [f"  subgraph {package}", *(f"    {name}[{name.partition('.')[2]}]" for name in inside), "  end"]
    for name in sorted(graph):
        further = set().union(*(reached(graph, target) for target in graph[name]))
        lines += [f"  {name} --> {target}" for target in sorted(graph[name] - further)]
    return "\n```mermaid\n" + "\n".join(lines) + "\n```\n"


def with_drawing(page: str, text: str) -> str:
    """The page with the drawing below its mark; ValueError where the mark is missing."""
    if len(BLOCK.findall(page)) != 1:
        raise ValueError(
            "expected one mermaid block below the line <!-- imports: written by scripts/import_graph.py -->"
        )
    return BLOCK.sub(lambda _: text, page)


def main() -> None:
    """Print or write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write it into {PAGE.relative_to(ROOT)}")
    if parser.parse_args().write:
        PAGE.write_text(with_drawing(PAGE.read_text(encoding="utf-8"), drawing()), encoding="utf-8")
    else:
        print(drawing())


if __name__ == "__main__":
    main()
