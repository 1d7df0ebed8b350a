"""The script for mutation testing: which changes it makes, and that it tells survivors from killed mutants."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from script import load_script

mutate = load_script("mutate")


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a = b < c", {"b <= c"}),
        ("a = b + c @ d", {"b - c @ d", "c + d"}),
        ("a = b if c and not d else 3", {"c or not d", "d", "4"}),
        ("a = (0.5, 0.0, True)", {"1.0", "False"}),
        ("os.fsync(f)", {"pass"}),
        ("a[0] = b", {"pass", "1"}),
        ("a += b", {"pass", "a -= b"}),
        ("a = f(b, c, d=e)", {"f(c, b, d=e)", "f(b, c)"}),
        ("a = zip(np.maximum(b, c), strict=d)", {"np.minimum"}),
        ("a = b[c:d]", {":d", "c:"}),
        ("a = min(b.any())", {"max", "b.all"}),
        ("if a:\n    raise ValueError('-' + b)", {"not a", "pass"}),
        ("while a > b:\n    break", {"a >= b", "pass"}),
        ("def f(a: int | None = 1) -> int | None:\n    return a", {"2", "pass"}),
        ("@g(1)\ndef f():\n    'A text.'\n    return f'{a + b}'", {"pass"}),
        ("import a\nb = 'c'", set()),
    ],
)
def test_the_changes_of_a_source(tmp_path: Path, source: str, changed: set[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    mutants = mutate.mutants_of(path)
    assert {mutant.new for mutant in mutants} == changed
    for mutant in mutants:
        assert mutant.text != source
        compile(mutant.text, "mutant", "exec")


def test_a_change_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("# é\nif (a or b):  # why\n    c = 'é' * (d + 1)\n")
    texts = [mutant.text for mutant in mutate.mutants_of(path)]
    assert "# é\nif ((a and b)):  # why\n    c = 'é' * (d + 1)\n" in texts
    assert "# é\nif (a or b):  # why\n    c = 'é' * ((d - 1))\n" in texts


MODULE = """
def at_most_ten(x):
    if x > 10:
        return 10
    return x
"""
TESTS = """
from tiny.limit import at_most_ten


def test_limit():
    assert (at_most_ten(3), at_most_ten(12)) == (3, 10)
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="the script copies the files that git lists")
@pytest.mark.slow
def test_survivors_are_told_from_killed_mutants(tmp_path: Path) -> None:
    """No test has a number from 10 to 11, so the condition may change by one; the other changes are noticed."""
    for name, text in (("tiny/__init__.py", ""), ("tiny/limit.py", MODULE), ("tests/tiny/test_limit.py", TESTS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    command = [sys.executable, ROOT / "scripts" / "mutate.py", "tiny", "--jobs", "2"]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    lines = run().stdout.splitlines()
    assert lines[:6] == ["tiny/limit.py:3", "- x > 10", "+ x >= 10", "tiny/limit.py:3", "- 10", "+ 11"]
    assert lines[8].split() == ["tiny/limit.py", "5", "3", "2", "60", "%"]
    assert (tmp_path / "tiny" / "limit.py").read_text() == MODULE
    assert run("--sample", "1").stdout.splitlines()[-1].split()[1] == "1"
    (tmp_path / "tests" / "tiny" / "test_limit.py").write_text("def test_limit():\n    assert False\n")
    failing = run()
    assert failing.returncode == 1
    assert "tiny/limit.py: expected tests that pass, got tests/tiny/test_limit.py" in failing.stderr
