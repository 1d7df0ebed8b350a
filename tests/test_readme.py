"""The README stays true: every file has its line, every command and option it shows exists."""

import re

import click
import pytest
from places import ROOT

from ensemble.cli import main as detect
from featstore.cli import main as featstore

README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("featstore", "embedders", "detectors", "ensemble", "scripts")
FILES = sorted(
    path.name for folder in FOLDERS for path in (ROOT / folder).iterdir() if path.is_file() and path.name != "py.typed"
)


@pytest.mark.parametrize("name", [name for name in FILES if name != "__init__.py"])
def test_every_file_has_a_line(name: str) -> None:
    assert re.search(rf"^\s+{re.escape(name)}\s+\S", README.partition("## Files")[2], re.MULTILINE), (
        f"{name} has no line"
    )


def shown_commands() -> list[str]:
    return re.findall(r"^\$ ((?:featstore|detect) [^\n#]*)", README, re.MULTILINE)


@pytest.mark.parametrize("line", shown_commands())
def test_every_shown_command_parses(line: str) -> None:
    program, *words = line.split()
    group: click.Group = {"featstore": featstore, "detect": detect}[program]
    command = group.commands.get(words[0]) or group.commands["run"]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("-"):
            assert word in known, f"{line}: {word} is no option of {command.name}"
