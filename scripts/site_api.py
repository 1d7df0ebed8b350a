"""Pages of the public Python API: the names of docs/api.toml, each with its signature and docstring.

The pages hold a line per name, which the site's builder replaces by what it reads in the source; nothing is imported.
"""

import ast
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from import_graph import modules

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs" / "api.toml"


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
        "These names are public: they are documented here, and a change of one is in the "
        "[changelog](../../changelog.md). Other names may change without notice.",
    ]
    for page in api["page"]:
        rows = [
            f"| [`{name}`]({page['file']}.md#{module}.{name}) | `from {module} import {name}` |"
            for module, names in page["names"].items()
            for name in names
        ]
        parts += [f"## [{page['title']}]({page['file']}.md)", page["about"], "\n".join(["| name | import |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _page(page: Mapping[str, Any], members: Mapping[str, list[str]]) -> str:
    parts = [f"# {page['title']}", page["about"]]
    for module, names in page["names"].items():
        for name in names:
            path = f"{module}.{name}"
            chosen = [f"      members: {json.dumps(members[path])}"] if path in members else []
            parts.append("\n".join([f"::: {path}", *(["    options:", *chosen] if chosen else [])]))
    return "\n\n".join(parts) + "\n"


def public_names(module: str) -> list[str]:
    """Functions and classes without underscore that a module defines, and the names of its `__all__`, in order."""
    return list(dict.fromkeys(_public(ast.parse(modules()[module].read_text(encoding="utf-8")))))


def _public(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            yield from ast.literal_eval(node.value)
