"""The notebooks of docs/examples run as scripts, at toy size, and convert to notebooks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

EXAMPLES = ROOT / "docs" / "examples"
SMALL = {"CLIPS": "48", "ROWS": "2000", "QUERIES": "20", "MPLBACKEND": "Agg"}
PRINTED = {
    "own_parts": ("the detector keeps its contract", "fit: expected the detector itself to be returned", "all three"),
    "scores_to_pandas": ("False (16, 13)", "AUC", "pyarrow.Field<section: string> 16"),
    "archive_search": (
        "equal to the plain search: True",
        "no row is its own neighbour: True",
        "the three strange clips lead: True",
    ),
}
"""What a reader of each example must see."""


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs_and_prints_what_it_says(name: str, tmp_path: Path) -> None:
    for library in ("matplotlib", "pandas", "pyarrow"):
        pytest.importorskip(library)
    environment = os.environ | SMALL | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [text for text in PRINTED[name] if text not in done.stdout] == []


def test_examples_convert_to_notebooks() -> None:
    jupytext = pytest.importorskip("jupytext")
    for name in PRINTED:
        notebook = json.loads(jupytext.writes(jupytext.read(EXAMPLES / f"{name}.py"), fmt="ipynb"))
        kinds = [cell["cell_type"] for cell in notebook["cells"]]
        assert kinds[0] == "markdown"
        assert notebook["cells"][0]["source"][0].startswith("# ")
        assert kinds.count("code") >= 5
