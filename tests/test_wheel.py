"""A wheel built from the tree, installed in an empty environment outside the checkout, runs the demo's commands."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from places import ROOT

PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
PIP = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", *PIP, "--no-build-isolation", "-w", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("featstore-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel; the libraries that it needs are those of this one, without the checkout."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", *PIP, str(wheel)], check=True)
    return folder


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert wanted - held == set()
    assert {name.partition("/")[0] for name in held if ".dist-info/" not in name} == set(PACKAGES)


def test_the_wheel_runs_the_commands_of_the_demo(environment: Path, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        program = str(environment / "bin" / words[0])
        done = subprocess.run(
            [program, *words[1:]], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    place = run(
        "python", "-c", "import featstore, ensemble.report; print(featstore.__file__, ensemble.report.__file__)"
    )
    assert all(str(environment) in path for path in place.split())
    run("featstore", "simulate", "plant", "--clips", "48", "--machines", "fan,valve", "--seconds", "2")
    run("featstore", "build", "plant", "store", "-e", "logmel", "-e", "twfr", "--workers", "0")
    assert "logmel" in run("featstore", "info", "store")
    assert "official score" in run("detect", "store", "--ensemble", "-o", "results")
    run("detect", "report", "store", "--recipe", "results/recipe.toml", "--data", "plant", "-o", "report.html")
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "stgram_mfn" in run("detect", "recipes")
