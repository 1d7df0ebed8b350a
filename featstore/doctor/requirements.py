"""Which distributions the package needs, by its own metadata, and which of them are installed; nothing is imported."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:\[[^\]]*\])?\s*(?:\(?>=\s*(?P<least>[\w.]+)\)?)?[^;]*(?:;(?P<marker>.*))?"
)
EXTRA = re.compile(r"""extra\s*==\s*["']([\w.-]+)["']""")


@dataclass(frozen=True)
class Requirement:
    """A distribution, its least version (empty for any), and the extra that asks for it (empty for the base)."""

    name: str
    least: str = ""
    extra: str = ""


@dataclass(frozen=True)
class Library:
    """A required distribution: the installed version (empty for none), the least one, and the tested one if known."""

    name: str
    installed: str
    least: str
    tested: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with it, in words; empty where nothing is."""
        if not self.installed:
            return f"{self.name} is not installed"
        if numbers(self.installed) < numbers(self.least):
            return f"{self.name} {self.installed} is older than {self.least}"
        return ""


def parsed(lines: Iterable[str]) -> list[Requirement]:
    """Requirements of the `Requires-Dist` of a distribution; a line that cannot be read is left out."""
    requirements = []
    for line in lines:
        match = REQUIREMENT.fullmatch(line.strip())
        if match:
            extra = EXTRA.search(match["marker"] or "")
            requirements.append(Requirement(match["name"], match["least"] or "", extra[1] if extra else ""))
    return requirements


def numbers(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with, without zeros at the end: 2.13.0+cpu is (2, 13)."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    parts = [int(part) for part in match[0].split(".")] if match else []
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def installed(name: str) -> str:
    """The installed version of a distribution; empty where there is none, or its metadata are damaged."""
    try:
        return version(name) or ""
    except PackageNotFoundError:
        return ""


def library(requirement: Requirement, tested: Mapping[str, str]) -> Library:
    """A requirement with the installed version; `tested`: versions by normalised name."""
    name = requirement.name
    return Library(name, installed(name), requirement.least, tested.get(normalised(name), ""))


def normalised(name: str) -> str:
    """A name as package indexes compare it: lower case, and one dash for dashes, dots and underscores."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(file: Path) -> dict[str, str]:
    """Versions by normalised name of a file of constraints; empty where there is no such file, as in a wheel."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {normalised(name.strip()): number.strip() for name, _, number in pairs}
