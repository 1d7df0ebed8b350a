"""Imports inside `ensemble`, also those inside functions and for type checking: no circles, and rooms that stay low."""

import ast
from graphlib import TopologicalSorter

import pytest
from places import ROOT


def imported(text: str) -> set[str]:
    """Modules of `ensemble` that a source text imports anywhere, without the package name."""
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom))
    return {node.module.removeprefix("ensemble.") for node in nodes if (node.module or "").startswith("ensemble.")}


def modules() -> dict[str, set[str]]:
    """Every module of `ensemble` with those that it imports."""
    folder = ROOT / "ensemble"
    paths = (path for path in folder.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(folder).with_suffix("").parts): imported(path.read_text()) for path in paths}


def test_no_module_imports_itself_through_others() -> None:
    order = list(TopologicalSorter(modules()).static_order())  # raises CycleError, which names the circle
    assert len(order) > 40


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("decision", set()),
        ("submission", set()),
        ("systems", set()),
        ("selection", {"decision", "recipe", "defaults", "external"}),
        ("archive", {"decision", "recipe", "defaults", "external"}),
    ],
)
def test_a_room_imports_only_lower_rooms(room: str, allowed: set[str]) -> None:
    outside = {
        name.partition(".")[0] for module, names in modules().items() if module.startswith(room) for name in names
    }
    assert outside <= {room, *allowed}
