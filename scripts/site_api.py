"""Pages of the public Python API: the names of docs/api.toml, each with its signature and docstring.

The pages hold a line per name, which the site's builder replaces by what it reads in the source; nothing is imported.
"""

import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from import_graph import modules

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs" / "api.toml"
WIDTH = 80
SENTENCE_END = re.compile(r"(?<=\.)(?<!et al\.)(?<!e\.g\.)(?<!i\.e\.)\s|\n\n")


def read_api(path: Path = API) -> dict[str, Any]:
    """The list: `page` (file, title, about, names), `members` and `internal`."""
    return {"members": {}, "internal": {}, **tomllib.loads(path.read_text(encoding="utf-8"))}


def documented(api: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names that have a place on a page, by module."""
    names: dict[str, list[str]] = {}
    for page in api["page"]:
        for module, of_module in page["names"].items():
            names.setdefault(module, []).extend(of_module)
    return names


def api_pages(api: Mapping[str, Any]) -> dict[str, str]:
    """Markdown of the pages by their path on the site."""
    pages = {f"reference/python/{page['file']}.md": _page(page, api["members"]) for page in api["page"]}
    return {"reference/python/index.md": _index(api), **pages}


def _index(api: Mapping[str, Any]) -> str:
    parts = [
        "# Python API",
        "These names are public: a change of one is in the [changelog](../../changelog.md). Other names may change "
        "without notice.",
    ]
    counts = Counter(name for page in api["page"] for names in page["names"].values() for name in names)
    for page in api["page"]:
        rows = [
            f"| [`{name if counts[name] < 2 else path}`]({page['file']}.md#{path}) | {first_sentence(module, name)} |"
            for module, names in page["names"].items()
            for name, path in ((name, f"{module}.{name}") for name in names)
        ]
        table = "\n".join(["| name | |", "|---|---|", *rows])
        parts += [f"## [{page['title']}]({page['file']}.md)", page["about"], table]
    return "\n\n".join(parts) + "\n"


def _page(page: Mapping[str, Any], members: Mapping[str, list[str]]) -> str:
    parts = [f"# {page['title']}", page["about"]]
    for module, names in page["names"].items():
        parts += [f"## `{module}`", f"```python\n{_import(module, names)}\n```"]
        for name in names:
            shown = members.get(f"{module}.{name}", page.get("members"))
            options = "" if shown is None else f"\n    options:\n      members: {json.dumps(shown or False)}"
            parts.append(f"::: {module}.{name}{options}")
    return "\n\n".join(parts) + "\n"


def _import(module: str, names: Sequence[str]) -> str:
    """The line that imports the names, broken where it is long."""
    line = f"from {module} import {', '.join(names)}"
    return (
        line if len(line) < WIDTH else f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
    )


def first_sentence(module: str, name: str) -> str:
    """What the docstring of a name says first; the name may be imported from another module of ours."""
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return SENTENCE_END.split(ast.get_docstring(node) or "")[0].replace("\n", " ").replace("|", r"\|")
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return first_sentence(node.module or "", name)
    raise ValueError(f"docs/{API.name}: {module} has no {name}")


def public_names(module: str) -> list[str]:
    """Functions and classes without underscore that a module defines, and the names of its `__all__`, in order."""
    return list(dict.fromkeys(_public(_tree(module))))


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def _public(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            yield from ast.literal_eval(node.value)
