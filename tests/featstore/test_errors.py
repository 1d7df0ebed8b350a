"""Reasons are told in words: no message shows the number of an error of the system, or its path twice."""

import ast
import errno
from pathlib import Path

import pytest
from places import ROOT

from featstore.errors import DataError, reason_of

PACKAGES = ("featstore", "embedders", "detectors", "ensemble")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"), "No such file or directory"),
        (OSError("short read"), "short read"),
        (ValueError("bad"), "bad"),
        (DataError("worse"), "worse"),
        (OSError(), "OSError"),
    ],
)
def test_a_reason_is_in_words(error: Exception, text: str) -> None:
    assert reason_of(error) == text


def told_raw(tree: ast.AST) -> list[int]:
    """Lines of messages with an error of the system as Python writes it."""
    lines = []
    for handler in (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type and node.name):
        caught = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}  # type: ignore[arg-type]
        if "OSError" in caught:
            shown = (node.value for node in ast.walk(handler) if isinstance(node, ast.FormattedValue))
            lines += [value.lineno for value in shown if isinstance(value, ast.Name) and value.id == handler.name]
    return lines


def test_no_message_shows_an_error_of_the_system_as_python_writes_it() -> None:
    assert told_raw(ast.parse("try: f()\nexcept (OSError, ValueError) as e:\n  raise E(f'a: {e}')")) == [3]
    assert told_raw(ast.parse("try: f()\nexcept ValueError as e:\n  raise E(f'a: {e}')")) == []
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = {str(path): told_raw(ast.parse(Path(path).read_text())) for path in modules}
    assert {path: lines for path, lines in found.items() if lines} == {}, "use featstore.errors.reason_of"
