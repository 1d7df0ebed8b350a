"""The direction of imports, and what may be loaded before a command knows what to do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

ALLOWED = {
    "featstore": {"featstore"},
    "embedders": {"embedders", "featstore"},
    "detectors": {"detectors", "featstore"},
    "ensemble": {"ensemble", "detectors", "featstore"},
}
"""Which of our packages each package may import."""

COMPOSITION_ROOTS = {"featstore.cli", "featstore.commands.build", "featstore.commands.shares", "ensemble.cli"}
"""May import anything; nobody else imports them."""

HEAVY = {"torch", "sklearn", "librosa", "transformers", "ray", "faiss", "scipy", "h5py"}

MODULES = [path.relative_to(ROOT) for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def dotted(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def imports(source: str, module: Path) -> Iterator[str]:
    """Every module that `source` imports anywhere, absolute; `from a import b` counts as a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.parts[: len(module.parts) - node.level] if node.level else ()
            base = ".".join([*parents, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source: str, module: Path) -> list[str]:
    package = module.parts[0]
    found = set()
    for name in imports(source, module):
        top = name.partition(".")[0]
        if name in COMPOSITION_ROOTS and dotted(module) not in COMPOSITION_ROOTS:
            found.add(f"{name} is a composition root")
        if dotted(module) in COMPOSITION_ROOTS:
            continue
        if top in ALLOWED and top not in ALLOWED[package]:
            found.add(f"{package} may not import {top}")
        if package == "featstore" and top in {"torch", "faiss", "sklearn", "transformers"}:
            found.add(f"featstore may not import {top}")
    return sorted(found)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_down(module):
    assert violations((ROOT / module).read_text(), module) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("featstore/x.py", "import embedders", ["featstore may not import embedders"]),
        ("featstore/x.py", "def f():\n    from torch import nn", ["featstore may not import torch"]),
        ("embedders/x.py", "from detectors.knn import KNN", ["embedders may not import detectors"]),
        ("detectors/x.py", "import ensemble.decision.fuse", ["detectors may not import ensemble"]),
        ("ensemble/x.py", "from featstore import cli", ["featstore.cli is a composition root"]),
        ("ensemble/x.py", "from .cli import main", ["ensemble.cli is a composition root"]),
        ("ensemble/cli.py", "import embedders, torch", []),
        ("ensemble/x.py", "import detectors, featstore.clip, numpy\nfrom . import fuse", []),
    ],
)
def test_the_check_itself(module, source, expected):
    assert violations(source, Path(module)) == expected


HELP = "import sys; sys.argv = ['x', '--help']; from {0} import main; main()"


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        ("embedders/__init__.py", "import embedders"),
        ("detectors/__init__.py", "import detectors"),
        ("featstore/cli.py", HELP.format("featstore.cli")),
        ("ensemble/cli.py", HELP.format("ensemble.cli")),
    ],
    ids=["embedders", "detectors", "featstore --help", "ensemble --help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(needs, code):
    if not (ROOT / needs).exists():
        pytest.skip(f"{needs} does not exist yet")
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert len(loaded) > 10, "importtime printed nothing"
    assert loaded & HEAVY == set()
