"""A source archive gives a wheel; installed in an empty environment outside the checkout, it runs the demo."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from places import ROOT

PACKAGES = ("featstore", "embedders", "detectors", "ensemble")
VERSION = "0.7.1.dev5+gabc"
PIP = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of a state with a version."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_sdist('out')"
    env = os.environ | {"SETUPTOOLS_SCM_PRETEND_VERSION": VERSION}
    subprocess.run([sys.executable, "-c", build], cwd=source, env=env, check=True, capture_output=True)
    return next((source / "out").glob("featstore-*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(archive) as opened:
        opened.extractall(source, filter="data")
    folder = next(source.iterdir())
    command = [sys.executable, "-m", "pip", "wheel", *PIP, "--no-build-isolation", "-w", str(out), str(folder)]
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


def test_the_metadata_are_those_of_pyproject_and_of_the_source_archive(wheel: Path) -> None:
    opened = zipfile.ZipFile(wheel)
    folder = next(name.partition("/")[0] for name in opened.namelist() if ".dist-info/" in name)
    metadata = message_from_bytes(opened.read(f"{folder}/METADATA"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["Version"] == VERSION
    assert (metadata["Summary"], metadata["Requires-Python"]) == (project["description"], project["requires-python"])
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    required = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert required == set(project["dependencies"])
    assert f"{folder}/licenses/LICENSE" in opened.namelist()
    scripts = opened.read(f"{folder}/entry_points.txt").decode()
    assert all(f"{name} = {target}" in scripts for name, target in project["scripts"].items())


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
    for program in ("featstore", "detect"):
        assert run(program, "--version").split()[-1] == VERSION
    run("featstore", "simulate", "plant", "--clips", "48", "--machines", "fan,valve", "--seconds", "2")
    run("featstore", "build", "plant", "store", "-e", "logmel", "-e", "twfr", "--workers", "0")
    assert "logmel" in run("featstore", "info", "store")
    assert "official score" in run("detect", "store", "--ensemble", "-o", "results")
    run("detect", "report", "store", "--recipe", "results/recipe.toml", "--data", "plant", "-o", "report.html")
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "stgram_mfn" in run("detect", "recipes")
