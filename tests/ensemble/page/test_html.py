"""Templates escape all text, and the page allows exactly the scripts that are in it."""

import base64
import hashlib
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from places import ROOT

from ensemble.page.html import SCRIPTS, name, page, render, share_bar, table

TEMPLATES = sorted((ROOT / "ensemble" / "page" / "templates").iterdir())
EMPTY = {"lead": ("", "", ""), "facts": [], "warnings": [], "notes": [], "parts": []}


def test_templates_escape_and_refuse_unknown_names() -> None:
    names = {path.name for path in TEMPLATES}
    assert names >= {"report.html", "table.html", "charts.html", "clips.html", "card.html", "compare.svg"}
    assert not [path for path in TEMPLATES if re.search(r"\|\s*safe|autoescape|Markup", path.read_text())]
    with pytest.raises(UndefinedError, match="'counts' is undefined"):
        render("clips.html")
    assert "<script" not in table("<script>", ["<script>"], [["<script>"]])
    assert share_bar(0.25, 0.5).endswith('style="width:40px" aria-hidden="true"></span> 25.0')


def openings(template: str) -> list[str]:
    """Scripts that are not files of the package, and attributes that a value could end or that run code."""
    plain = re.sub(r"\{%.*?%\}", "", re.sub(r"\{\{.*?\}\}", "VALUE", template, flags=re.DOTALL), flags=re.DOTALL)
    of_package = r'<script>VALUE</script>|<script type="module" src="/static/[\w.]+"></script>'
    return [
        *re.findall(r"<script[^>]*>", re.sub(of_package, "", plain)),
        *re.findall(r"\bon\w+=", plain),
        *re.findall(r"[\w-]+\s*=\s*VALUE", re.sub(r"=\"[^\"]*\"|='[^']*'", "", plain)),
    ]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_script_and_no_unquoted_attribute(path: Path) -> None:
    assert openings(path.read_text()) == []


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('<a href="#b?c={{ d }}&amp;e={{ "f" if g }}">{{ h }}</a>', []),
        ("it's <a id={{ b }}>, isn't it", ["id=VALUE"]),
        ("<a data-b='{{ b }}'>", []),
        ("<script>f({{ a }})</script>", ["<script>"]),
        ('<a onclick="f({{ a }})">', ["onclick="]),
    ],
)
def test_scripts_and_unquoted_attributes_are_found(template: str, expected: list[str]) -> None:
    assert openings(template) == expected


def test_names_that_are_not_utf_8_show_their_bytes_as_escapes() -> None:
    page("a\udcff\ud800.wav", **EMPTY).encode("utf-8")
    assert r"<h1>a\udcff\ud800.wav</h1>" in page("a\udcff\ud800.wav", **EMPTY)


def test_long_names_break_between_their_parts() -> None:
    assert name("a/b_c.wav") == '<bdi class="name">a/<wbr>b_<wbr>c.wav</bdi>'
    assert name("fan") == '<bdi class="name">fan</bdi>'
    assert name("") == '<bdi class="name"></bdi>'
    assert name("<b>/&") == '<bdi class="name">&lt;b&gt;/<wbr>&amp;</bdi>'


def test_every_template_is_package_data() -> None:
    """Tests run from the source tree, where a template that the wheel lacks is not missed."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = ROOT / "ensemble" / "page"
    packed = {path for pattern in patterns["ensemble.page"] for path in folder.glob(pattern)}
    assert {path for path in folder.rglob("*") if path.suffix in {".html", ".svg", ".css", ".js"}} <= packed


def test_the_policy_names_the_very_bytes_of_the_scripts() -> None:
    text = page("t", **EMPTY)
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == len(SCRIPTS) == text.count("<script")
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["script-src"] == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert {kind: rules[kind] for kind in ("default-src", "img-src", "media-src", "base-uri", "form-action")} == {
        "default-src": "'none'",
        "img-src": "data:",
        "media-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "unsafe" not in rules["script-src"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_of_the_report_stands_alone(script: str) -> None:
    """It is inside one HTML file, so it can neither import nor hold what ends or comments out a script element."""
    text = files("ensemble.page").joinpath("static", script).read_text(encoding="utf-8")
    assert not re.search(r"</script|<!--|<script", text, re.IGNORECASE)
    assert not re.search(
        r"^\s*(import|export)\b|\b(fetch|eval|XMLHttpRequest|innerHTML|Function)\b", text, re.MULTILINE
    )
    assert "\r" not in text, "a browser reads a carriage return as a line feed, which has another hash"
