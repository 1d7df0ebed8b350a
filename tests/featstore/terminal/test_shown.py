"""What may be shown of text of others, and the one place that prints."""

import ast
import json

import pytest
from places import ROOT

from featstore.terminal.shown import Block, block, counted, json_text, one_line, printable

PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
HIDDEN = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA1)),  # DEL, C1 controls, no-break space
    "\u00ad",
    *"\u061c\u200b\u200c\u200d\u200e\u200f",
    *"\u2028\u2029",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2060, 0x2070)),  # also the isolates U+2066 to U+2069
    "\ufeff",
    "\udcff",
    "\ud800",
    "\U000e0041",  # a tag, which has no shape
]


@pytest.mark.parametrize("character", HIDDEN, ids=lambda c: f"U+{ord(c):04X}")
def test_what_has_no_shape_is_shown_as_an_escape(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown.isascii()
    assert shown[0] + shown[-1] == "ab"
    assert shown[1] == "\\"
    assert ast.literal_eval(f"'{shown}'") == f"a{character}b"


@pytest.mark.parametrize("text", ["", "fan/0.wav", "Lüfter Ölpumpe 风扇 вентилятор", "a b", "🙂", "it's <b>"])
def test_everything_else_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_line_is_cut_to_its_width() -> None:
    assert one_line("a\nb", 10) == r"a\nb"
    assert one_line("abcdef", 4) == "abc…"


def test_a_block_keeps_its_lines_and_escapes_those_of_others() -> None:
    inner = block("a\x1b[2J", "b\nforged")
    assert inner == "a\\x1b[2J\nb\\nforged"
    assert isinstance(inner, Block)
    assert block("head\n", inner, between="\n\n") == f"head\\n\n\n{inner}"


def test_json_has_no_character_that_a_terminal_takes_for_a_command() -> None:
    value = {"a": "".join(HIDDEN)}
    assert json_text(value).isascii()
    assert json_text(value).isprintable()
    assert json.loads(json_text(value)) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"), allow_nan=False)


ALLOWED = {
    "featstore/console.py": {"click.echo", "Console", "sys.stdout", "sys.stderr", "warnings.showwarning"},
    "ensemble/watching/log.py": {"logging", "sys.stderr"},
    "ensemble/commands/watch.py": {"sys.stdout"},  # of JSON lines
    "featstore/doctor/apart.py": {"print"},  # of JSON to the process that started it
    "featstore/distributed/ray_cluster.py": {"sys.stderr"},  # of what Ray prints
}
"""What prints, and what it may name; everything else calls `echo`, or a function that it was given."""


WAYS = {
    *("click.echo", "click.secho", "click.progressbar", "sys.stdout", "sys.stderr"),
    *("warnings.warn", "warnings.showwarning"),
}


def printing(tree: ast.AST) -> set[str]:
    """What a module names of the ways to print."""
    named: set[str] = set()
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if text in WAYS:
            named.add(text)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "Console"}:
            named.add(node.func.id)
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        named |= {name.partition(".")[0] for name in modules} & {"logging"}
        if isinstance(node, ast.ImportFrom) and node.module == "click":
            named |= {f"click.{alias.name}" for alias in node.names if alias.name in {"echo", "secho"}}
    return named


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("print(1)", {"print"}),
        ("click.echo('a')", {"click.echo"}),
        ("from functools import partial\nsay = partial(click.echo, err=True)", {"click.echo"}),
        ("from click import echo", {"click.echo"}),
        ("import sys\nsys.stdout.write('a')", {"sys.stdout"}),
        ("from logging.handlers import RotatingFileHandler", {"logging"}),
        ("import warnings\nwarnings.warn('a')", {"warnings.warn"}),
        ("import warnings\nwarnings.simplefilter('error')", set()),
        ("from rich.console import Console\nConsole()", {"Console"}),
        ("from featstore.console import echo\necho('a')", set()),
    ],
)
def test_ways_to_print_are_found(source: str, found: set[str]) -> None:
    assert printing(ast.parse(source)) == found


def test_only_one_place_prints() -> None:
    found = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        extra = printing(ast.parse(path.read_text())) - ALLOWED.get(name, set())
        if extra:
            found[name] = extra
    assert found == {}, "print with featstore.console.echo, which escapes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (counted(1, "clip"), "1 clip"),
        (counted(0, "clip"), "0 clips"),
        (counted(1234, "clip"), "1,234 clips"),
        (counted(2, "copy", "copies"), "2 copies"),
        (counted(1, "copy", "copies"), "1 copy"),
    ],
)
def test_a_number_agrees_with_its_noun(text: str, expected: str) -> None:
    assert text == expected
