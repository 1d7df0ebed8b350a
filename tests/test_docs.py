"""README and docs stay true: links lead somewhere, and every file, module, command and option they name exists."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from places import ROOT
from script import load_script

from ensemble.cli import main as detect
from featstore.cli import main as featstore

file_list, import_graph = load_script("file_list"), load_script("import_graph")
PAGES = [ROOT / "README.md", ROOT / "featstore" / "FORMAT.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)")
PATH = re.compile(r"(?<![\w/.~$-])(?:featstore|embedders|detectors|ensemble|scripts|tests|docs)/[\w./*-]*[\w/*]")
MODULE = re.compile(r"(?<![\w/.-])(?:featstore|embedders|detectors|ensemble)(?:\.\w+)+")
GROUPS = {f"featstore.{kind}" for kind in ("embedders", "detectors", "anomalies", "layouts", "commands")}
"""Groups of entry points, which look like modules."""


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request) -> Path:
    return request.param


def anchors(path: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target) if target else page
        assert path.exists(), f"{page.name}: no {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target or page.name} has no heading #{anchor}"


def test_named_files_exist(page):
    for name in PATH.findall(page.read_text(encoding="utf-8")):
        assert any(ROOT.glob(name)), f"{page.name} names {name}"


def test_named_modules_and_functions_exist(page):
    for name in {*MODULE.findall(page.read_text(encoding="utf-8"))} - GROUPS:
        parts = name.split(".")
        depth = max(n for n in range(1, len(parts) + 1) if module_exists(parts[:n]))
        found: Any = import_module(".".join(parts[:depth]))
        for part in parts[depth:]:
            assert hasattr(found, part), f"{page.name} names {name}"
            found = getattr(found, part)


def module_exists(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


def code_lines(text: str) -> list[str]:
    """Lines of code of a page: in fenced and indented blocks, and within text; continued lines are joined."""
    blocks = [block for language, block in FENCED.findall(text) if language in {"console", "bash"}]
    rest = FENCED.sub("", text)
    blocks += [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in INDENTED.findall(rest)]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*lines, *(" ".join(code.split()) for code in re.findall(r"`([^`]+)`", INDENTED.sub("", rest)))]


def shown_commands(text: str, programs: str) -> list[list[str]]:
    """Words of every shown command of some programs, without comments."""
    pattern = re.compile(rf"(?:^|\$ |&& |do |\"|python )({programs}) ([^;|\n]*)")
    found = [(match[1], match[2]) for line in code_lines(text) for match in pattern.finditer(line)]
    return [[program, *re.sub(r"\s#\s.*|[\"&)].*$|\(.*$", "", words).split()] for program, words in found]


def test_shown_commands_and_options_exist(page):
    groups: dict[str, click.Group] = {"featstore": featstore, "detect": detect}
    for program, *words in shown_commands(page.read_text(encoding="utf-8"), "featstore|detect"):
        group = groups[program]
        context = click.Context(group)
        first = words[0].rstrip(",") if words else ""
        command = group.get_command(context, first)
        if command is None and program == "detect":
            assert first[:1] == "-" or "STORE" in first or first.endswith("store"), f"{page.name}: detect {first}"
            command = group.get_command(context, "run")
        assert command is not None, f"{page.name}: {program} has no command {first}"
        if isinstance(command, click.Group):
            command = command.get_command(context, words[1]) or command if len(words) > 1 else command
        options = {word.partition("=")[0].rstrip(",") for word in words if re.match(r"--?[a-z]", word)}
        unknown = options - {name for parameter in command.params for name in parameter.opts}
        assert unknown == set(), f"{page.name}: {program} {' '.join(words)}: {unknown}"


def test_shown_scripts_have_the_shown_options(page):
    for script, *words in shown_commands(page.read_text(encoding="utf-8"), r"scripts/\w+\.py"):
        source = (ROOT / script).read_text(encoding="utf-8")
        for word in words:
            assert not word.startswith("--") or f'"{word}"' in source, f"{page.name}: {script} has no option {word}"


def test_the_list_of_modules_is_complete_and_current():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert file_list.with_list(page, file_list.file_list()) == page, "run `python scripts/file_list.py --write`"


def test_the_drawing_of_imports_is_current():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert import_graph.with_drawing(page, import_graph.drawing()) == page, (
        "run `python scripts/import_graph.py --write`"
    )


def test_every_module_says_what_it_is_for():
    for name in file_list.FOLDERS:
        for path in (ROOT / name).rglob("*.py"):
            assert len(file_list.sentence(path)) > 10, f"{path.relative_to(ROOT)} has no docstring"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Local outlier factor (Breunig et al. 2000). More."""', "Local outlier factor (Breunig et al. 2000)"),
        ('"""Does it hold? It does."""', "Does it hold?"),
        ('"""Two\nlines of e.g.this\n\n    and an example\n"""', "Two lines of e.g.this"),
    ],
)
def test_the_first_sentence(source, expected, tmp_path):
    (tmp_path / "module.py").write_text(source)
    assert file_list.sentence(tmp_path / "module.py") == expected


@pytest.mark.parametrize(
    ("page", "modules", "library"),
    [
        ("contributing.md", {"my_median.py", "my_cepstrum.py"}, "scipy"),
        ("howto/own_parts.md", {"my_mfcc.py", "my_deviation.py"}, "librosa"),
    ],
)
def test_the_components_of_a_page_keep_their_contracts(page, modules, library, tmp_path):
    pytest.importorskip(library)
    for language, block in FENCED.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        named = re.match(r"# (\w+\.py)\n", block)
        if language == "python":
            (tmp_path / (named[1] if named else "check.py")).write_text(block)
    assert {path.name for path in tmp_path.iterdir()} == {*modules, "check.py"}
    done = subprocess.run([sys.executable, "check.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
