"""The law of imports: no arrow climbs, none runs in a circle, and nothing heavy loads before a command needs it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from script import load_script

ALLOWED = {
    "featstore": {"featstore"},
    "embedders": {"embedders", "featstore"},
    "detectors": {"detectors", "featstore"},
    "ensemble": {"ensemble", "detectors", "featstore"},
}
"""Which of our packages each package may import."""

NOT_IN_THE_GROUND = {"torch", "faiss", "sklearn", "transformers"}
HEAVY = {*NOT_IN_THE_GROUND, "librosa", "ray", "scipy", "h5py", "rich", "jinja2"}

graph = load_script("import_graph")
MODULES = graph.modules()


def is_command(module: str) -> bool:
    return module.endswith(".cli") or ".commands" in module


def violations(source: str, module: str) -> list[str]:
    """What a module imports against the law."""
    package = module.partition(".")[0]
    found = set()
    for name in graph.imports(source, module):
        top = name.partition(".")[0]
        if top in ALLOWED and top not in ALLOWED[package]:
            found.add(f"{package} may not import {top}")
        if package == "featstore" and top in NOT_IN_THE_GROUND:
            found.add(f"featstore may not import {top}")
        if top in ALLOWED and is_command(name) and not is_command(module):
            found.add(f"only commands import commands, not {name}")
    return sorted(found)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert violations(MODULES[module].read_text(), module) == []


def test_no_imports_run_in_a_circle():
    assert graph.circles(graph.arrows()) == []


def test_no_rooms_import_each_other_in_a_circle():
    assert graph.circles(graph.folders(graph.arrows())) == []


def test_a_room_holds_at_most_fourteen_files():
    counts: dict[Path, int] = {}
    for path in MODULES.values():
        if path.name != "__init__.py":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > 14} == {}


def test_every_room_says_what_it_is_for():
    assert [name for name, path in MODULES.items() if not (ast.get_docstring(ast.parse(path.read_text())) or "")] == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("featstore.x", "import embedders", ["featstore may not import embedders"]),
        ("featstore.commands.x", "from embedders import create", ["featstore may not import embedders"]),
        ("featstore.x", "def f():\n    from torch import nn", ["featstore may not import torch"]),
        ("embedders.x", "from detectors.knn import KNN", ["embedders may not import detectors"]),
        ("detectors.x", "import ensemble.fuse", ["detectors may not import ensemble"]),
        ("ensemble.x", "from featstore import cli", ["only commands import commands, not featstore.cli"]),
        ("ensemble.x", "from .cli import main", ["only commands import commands, not ensemble.cli"]),
        ("ensemble.cli", "import torch, detectors\nfrom ensemble.commands import run", []),
        ("ensemble.x", "import detectors, featstore.clip, numpy\nfrom . import fuse", []),
    ],
)
def test_the_law_itself(module, source, expected):
    assert [line for line in violations(source, module) if not line.endswith(".main")] == expected


def test_circles_are_found():
    assert graph.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c", "b"]]
    assert graph.circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


HELP = "import sys; sys.argv = ['x', '--help']; from {0} import main; main()"


@pytest.mark.parametrize(
    "code",
    ["import embedders", "import detectors", HELP.format("featstore.cli"), HELP.format("ensemble.cli")],
    ids=["embedders", "detectors", "featstore --help", "detect --help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code):
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert len(loaded) > 10, "importtime printed nothing"
    assert loaded & HEAVY == set()
