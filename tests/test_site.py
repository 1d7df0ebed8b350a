"""The site: every command, option and public name has its place, and it builds without a warning."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from browser import browser, complaints, requested, resize, until
from places import ROOT
from script import load_script

from detectors import DETECTORS
from embedders import EMBEDDERS
from featstore.cli import COMMANDS

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

site_api, site_commands, site_mentions = (
    load_script("site_api"),
    load_script("site_commands"),
    load_script("site_mentions"),
)
site_navigation, site_pages = load_script("site_navigation"), load_script("site_pages")

PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
API = site_api.read_api()
DESCRIBING = ("Home", "Tutorials", "How-to")
"""Sections of which one must describe a command."""


@pytest.fixture(scope="module")
def by_hand() -> dict[str, str]:
    return site_pages.pages_by_hand()


# Commands


def undescribed(by_hand: Mapping[str, str]) -> list[str]:
    """Commands that no tutorial, no how-to page and no table there shows."""
    nav = site_navigation.navigation(by_hand, site_navigation.read_sections())
    pages = [page for section in nav for title in section if title in DESCRIBING for page in site_pages.flat([section])]
    lines = [line for page in pages for line in site_mentions.code_lines(by_hand[page])]
    return [
        named.name
        for named in site_commands.all_commands().values()
        if not isinstance(named.command, click.Group)
        if not any(site_commands.is_mentioned(named, line) for line in lines)
    ]


def test_every_command_is_described_by_hand(by_hand):
    assert undescribed(by_hand) == []


def test_a_new_command_is_missed_where_it_is_not_described(by_hand, monkeypatch):
    monkeypatch.setitem(COMMANDS, "frobnicate", "featstore.commands.upkeep:info")
    assert undescribed(by_hand) == ["featstore frobnicate"]
    assert undescribed({**by_hand, "howto/x.md": "# x\n`featstore frobnicate STORE`\n"}) == []


def test_every_command_and_option_has_its_entry(by_hand):
    pages = site_commands.command_pages(site_pages.explaining(by_hand))
    for named in site_commands.all_commands().values():
        page = pages[named.page]
        entries = dict(re.findall(r"^`.*`\{ #(\S+) \}\n:   (.+)$", page, re.MULTILINE))
        options = [p for p in named.command.params if isinstance(p, click.Option) and not p.hidden]
        assert list(entries) == [max(option.opts, key=len).lstrip("-") for option in options], named.name
        assert named.first.replace("`", "") in page.replace("`", "").replace("\\", ""), named.name


@click.command()
@click.argument("store")
@click.option("-k", type=click.IntRange(1), default=3, show_default=True, help="Neighbours <of a clip>.")
@click.option("--name", "names", multiple=True, required=True, metavar="A|B", help="As of --kind.")
@click.option("--cut/--no-cut", help="Cut_it.")
@click.option("--secret", hidden=True)
def example(**_: Any) -> None:
    """Do it.

    \b
    example a   first
    example b   second

    Then [more].
    """


def test_the_page_of_a_command_says_what_click_knows():
    named = site_commands.Named("detect example", example, click.Context(example, info_name="example"))
    texts = {
        "howto/a.md": "# Title\n## Part one\n```console\n$ detect example store \\\n    -k 5     # why\nout\n```\n",
        "b.md": "# Other\n`detect examples`\n",
    }
    assert site_commands.page_of(named, {}, texts) == (
        "# detect example\n\nDo it.\n\n```text\nexample a   first\nexample b   second\n```\n\nThen \\[more\\].\n\n"
        "```text\ndetect example [OPTIONS] STORE\n```\n\n## Options\n\n"
        "`-k INTEGER RANGE`{ #k }\n:   Neighbours \\<of a clip\\>. *Default: `3`; range: `x>=1`.*\n\n"
        "`--name A|B`{ #name }\n:   As of `--kind`. *Required; may be repeated.*\n\n"
        "`--cut / --no-cut`{ #cut }\n:   Cut\\_it.\n\n"
        "## Exit codes\n\nThose of [every command of `detect`](index.md#exit-codes).\n\n"
        "## Examples\n\n```console\n$ detect example store -k 5  # why\n```\n\n"
        "## Explained in\n\n- [Title](../../../howto/a.md#part-one): Part one\n"
    )


def test_examples_work_and_each_shows_another_use():
    named = site_commands.all_commands()["featstore compact"]
    failing = "```console\n$ featstore compact store\nstore: busy\nerror: locked\n```\n"
    assert "## Examples" not in site_commands.page_of(named, {}, {"howto/a.md": f"# A\n{failing}"})
    named = site_commands.all_commands()["detect select"]
    block = "$ detect select store\n$ detect select x -o y\n$ detect select x   # why\n$ detect select x --perturb\n"
    indented = "    detect select x --faults a.csv  # indented\n    detect select x --grid ...\n"
    texts = {"results.md": "# Early\n`detect select`\n", "howto/a.md": f"# A\n```console\n{block}```\n\n{indented}"}
    page = site_commands.page_of(named, {}, {**texts, **{f"{i}.md": texts["results.md"] for i in range(9)}})
    assert re.findall(r"^\$ (.*)$", page, re.MULTILINE) == [
        "detect select x  # why",
        "detect select x --perturb",
        "detect select x --faults a.csv  # indented",
    ]
    links = re.findall(r"^- \[.*\]\(\.\./\.\./\.\./(.*)\)", page, re.MULTILINE)
    assert links == ["howto/a.md", "results.md", "0.md", "1.md", "2.md"]


def test_the_first_sentence_of_a_name_keeps_its_authors():
    assert (
        site_api.SENTENCE_END.split("As in (A et al. 2025), e.g. here. Then.")[0] == "As in (A et al. 2025), e.g. here."
    )


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("$ detect store --ensemble", "detect run", True),
        ("detect STORE -d knn", "detect run", True),
        ("detect run plant", "detect run", True),
        ("$ detect report store -o x", "detect run", False),
        ("$ featstore info store  # then detect store", "detect run", False),
        ("$ detect marks store", "detect mark", False),
        ("for x in a; do featstore build $x store; done", "featstore build", True),
        ("import featstore.build", "featstore build", False),
        ("$ featstore models pull mn04", "featstore models pull", True),
    ],
)
def test_which_command_a_line_mentions(line, name, expected):
    assert site_commands.is_mentioned(site_commands.all_commands()[name], line) is expected


# Python API


def class_modules() -> set[str]:
    """Modules of the components in the tables, which are public by the classes that the tables name."""
    return {path.partition(":")[0] for path in (*DETECTORS.values(), *EMBEDDERS.values())}


def unlisted(api: Mapping[str, Any]) -> list[str]:
    """Public names of the public modules that are neither documented nor named as internal."""
    listed = {**site_api.documented(api)}
    return [
        f"{module}.{name}"
        for module in {*listed, *PACKAGES} - class_modules()
        for name in site_api.public_names(module)
        if name not in listed.get(module, ()) and not {name, "*"} & {*api["internal"].get(module, ())}
    ]


def test_every_public_name_is_documented_or_internal():
    assert unlisted(API) == [], "add it to a page of docs/api.toml, or to [internal] there"


def test_a_new_public_name_is_missed():
    page = {"file": "x", "title": "X", "about": "", "names": {"featstore.table": ["ClipTable"]}}
    assert {name for name in unlisted({"page": [page], "internal": {}}) if "table" in name} == {
        "featstore.table.encode",
        "featstore.table.decode",
    }


def test_internal_names_exist_and_are_not_documented():
    documented = site_api.documented(API)
    for module, names in API["internal"].items():
        assert {*names} - {"*"} <= {*site_api.public_names(module)} - {*documented[module]}, module


def test_every_documented_name_says_what_it_is():
    for module, names in site_api.documented(API).items():
        for name in names:
            assert len(site_api.first_sentence(module, name)) > 10, f"{module}.{name}"
    with pytest.raises(ValueError, match=r"docs/api.toml: featstore.clip has no Clap"):
        site_api.first_sentence("featstore.clip", "Clap")


def test_every_detector_and_embedder_is_documented():
    documented = {f"{module}:{name}" for module, names in site_api.documented(API).items() for name in names}
    assert {*DETECTORS.values(), *EMBEDDERS.values()} - documented == set()


def imported(text: str) -> Iterator[tuple[str, str]]:
    """Module and name of everything that the Python blocks of a page import from our packages."""
    for language, block in site_mentions.FENCED.findall(text):
        if language == "python":
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
                    yield from ((node.module or "", alias.name) for alias in node.names)


def test_what_the_pages_import_is_documented(by_hand):
    documented = site_api.documented(API)
    found = {(page, *names) for page, text in by_hand.items() for names in imported(text)}
    assert len(found) > 4
    modules = {(module, name) for module, _, name in (module.rpartition(".") for module in documented)}
    unknown = [each for each in sorted(found) if each[2] not in documented.get(each[1], ()) and each[1:] not in modules]
    assert unknown == [], "add the names to docs/api.toml, or import others"


# Pages


def test_a_page_in_no_section_is_an_error():
    sections = [{"title": "A", "pages": ["a.md", {"title": "B", "pages": ["b/z.md", "b/*.md", "gone.md"]}]}]
    nav = site_navigation.navigation(["b/a.md", "a.md", "b/z.md"], [*sections, {"title": "C", "pages": ["c/*.md"]}])
    assert nav == [{"A": ["a.md", {"B": ["b/z.md", "b/a.md"]}]}]
    with pytest.raises(ValueError, match=r"pages in no section: d.md; add each to a section of docs/site.toml"):
        site_navigation.navigation(["a.md", "d.md"], sections)


def test_an_example_becomes_a_page():
    source = (
        "# ---\n# jupyter: {}\n# ---\n\n# %% [markdown]\n# # Title\n# Text.\n\n# %%\nimport numpy\n\n# why\nprint(1)\n"
    )
    assert site_pages.example_page(source) == "# Title\nText.\n\n```python\nimport numpy\n\n# why\nprint(1)\n```\n"


# The built site


def build(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(folder / "mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_dead_link_or_anchor_or_a_forgotten_page_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n[x](#b) [y](b.md#c) [z](gone.md)\n")
    (tmp_path / "docs" / "b.md").write_text("# B\n[x](index.md#a)\n")
    settings = {"INHERIT": str(ROOT / "docs" / "mkdocs.yml"), "nav": ["index.md"]}
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings))
    done = build(tmp_path)
    assert done.returncode == 1
    told = [line.partition(" - ")[2].strip() for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(told) == 4, done.stderr
    for part in ("b.md", "'#b'", "'b.md#c'", "'gone.md'"):
        assert any(part in line for line in told), done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    site_pages.stage(folder)
    done = build(folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder / "site"


class Loads(HTMLParser):
    """What a page loads from elsewhere, and its text outside code."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.text: list[str] = []
        self.within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        found = [values.get("src"), values.get("srcset"), values.get("href") if tag == "link" else None]
        self.foreign += [value for value in found if value and re.match(r"\s*(https?:)?//", value)]
        self.foreign += [tag] if "mermaid" in (values.get("class") or "").split() else []
        self.within += [tag] if tag in ("pre", "code", "script", "style") else []

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.text.append(data)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        read = Loads()
        read.feed(page.read_text(encoding="utf-8"))
        assert read.foreign == [], page.name
        # Markdown that was not understood: lists, fences, tables, headings, links, lines for the builder
        left = [text for text in read.text if re.search(r"^ *([-*] |```|\|--|#+ |::: )|\]\(", text, re.MULTILINE)]
        assert left == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.fixture(scope="module")
def driver(site: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.mark.slow
def test_the_site_opens_as_files_searches_and_fits_a_phone(driver, site):
    driver.get(f"file://{site}/index.html")
    driver.execute_script("document.querySelector('[for=__search]').click()")
    driver.execute_script(
        "const field = document.querySelector('.md-search__input'); field.focus(); field.value = 'false-alarm rate';"
        "field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); field.dispatchEvent(new Event('input'))"
    )
    assert until(driver, "document.querySelectorAll('.md-search-result__item').length") >= 3
    pages = ["index", "usage", "reference/commands/detect/run", "reference/python/store", "reference/python/index"]
    for page in filter(lambda page: (site / f"{page}.html").exists(), pages):
        for width in (1280, 390):
            resize(driver, width, 844)
            driver.get(f"file://{site}/{page}.html")
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width, (page, width)
    assert [url for url in requested(driver) if not url.startswith(("file:", "data:", "about:", "chrome:"))] == []
    assert complaints(driver) == []
