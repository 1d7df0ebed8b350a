"""Components of one's own: of an installed package, of all kinds, and of a module in the current folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from places import DATA, ROOT


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package of the tests is installed by pip."""
    source = shutil.copytree(DATA / "own_package", tmp_path_factory.mktemp("source") / "own")
    target = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings of two machines in the layout that only the package knows."""
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    for machine in ("fan", "pump"):
        for i in range(6):
            soundfile.write(folder / f"{machine}-{i}.wav", 0.1 * rng.normal(size=16000), 16000)
    return folder


def run(program: str, *words: object, cwd: Path, packages: Path | None = None, code: int = 0) -> str:
    """Standard output and error of a command in a process of its own."""
    paths = [str(ROOT), *([str(packages)] if packages else [])]
    module = {"featstore": "featstore.cli", "detect": "ensemble.cli"}[program]
    arguments = [sys.executable, "-P", "-m", module, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_an_installed_package_brings_all_kinds(packages: Path, recordings: Path, tmp_path: Path) -> None:
    build = ["build", recordings, "store", "-e", "loudness:parts=3", "--layout", "flat", "--anomalies", "1:hum@0"]
    said = run("featstore", *build, "--workers", 2, cwd=tmp_path, packages=packages)
    assert "layout flat" in said
    assert "and 12 generated anomalies from 12 of these recordings" in said
    assert "store: loudness:parts=3 holds 24 rows" in said
    said = run("detect", "store", "-d", "median:power=1", "-e", "loudness:parts=3", cwd=tmp_path, packages=packages)
    assert "of 12 clips reported" in said
    assert 'detector = "median:power=1"' in (tmp_path / "results" / "recipe.toml").read_text()
    run("detect", "store", "--recipe", "results/recipe.toml", "-o", "again", cwd=tmp_path, packages=packages)
    assert (tmp_path / "again" / "scores.csv").read_text() == (tmp_path / "results" / "scores.csv").read_text()
    assert "median" in run("detect", "detectors", cwd=tmp_path, packages=packages)


def test_an_installed_package_brings_commands(packages: Path, tmp_path: Path) -> None:
    for program, command, words in (("featstore", "hello", "Greet."), ("detect", "bye", "Take leave.")):
        assert words in run(program, "--help", cwd=tmp_path, packages=packages)
        assert "from a package" in run(program, command, cwd=tmp_path, packages=packages)


def test_a_package_that_does_not_load_stops_nothing_else(packages: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(packages, tmp_path / "broken")
    (broken / "own_parts.py").write_text("import no_such_library\n")
    said = run("featstore", "--help", cwd=tmp_path, packages=broken)
    assert "build" in said
    assert "does not load" in said
    said = run("featstore", "hello", cwd=tmp_path, packages=broken, code=1)
    assert "own_parts:hello of the package own-parts does not load: ModuleNotFoundError" in said
    made = run("featstore", "simulate", "plant", "--clips", 48, "--seconds", 1, cwd=tmp_path, packages=broken)
    assert "simulated plant" in made
    said = run("featstore", "build", "plant", "s", "-e", "loudness", cwd=tmp_path, packages=broken, code=1)
    assert "does not load" in said


OWN_EMBEDDER = (DATA / "own_package" / "own_parts.py").read_text()


def test_a_class_of_the_current_folder(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_EMBEDDER)
    build = ["build", recordings, "store", "-e", "mine:Loudness:parts=3", "--workers", 2]
    assert "mine:Loudness:parts=3 holds 12 rows" in run("featstore", *build, cwd=tmp_path)
    name = "mine:Loudness:parts=3"
    said = run("detect", "store", "-d", "mine:Median:power=1", "-e", name, cwd=tmp_path)
    assert "of 12 clips reported" in said
    assert 'detector = "mine:Median:power=1"' in (tmp_path / "results" / "recipe.toml").read_text()
    run("detect", "store", "--recipe", "results/recipe.toml", "--own-code", "-o", "again", cwd=tmp_path)
    said = run("detect", "store", "--recipe", "results/recipe.toml", "-o", "again", cwd=tmp_path, code=1)
    assert "mine:Median:power=1 is a class of a module, and finding it runs the code" in said
    said = run("detect", "store", "-d", "mine:Median:standardize=true", "-e", name, "-o", "z", cwd=tmp_path)
    assert "of 12 clips reported" in said


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-e", "mine:Nothing"], 1, "the module mine has no Nothing"),
        (["-e", "mine:HUM"], 1, "expected a class"),
        (["-e", "mine:Median"], 1, "mine:Median lacks embed"),
        (["-e", "nowhere:Embedder"], 2, "there is no module 'nowhere'"),
        (["-e", "mine:Loudness:part=3"], 2, "did you mean parts?"),
        (["-e", "mine:Loudness:parts=x"], 2, "parts=x: expected int"),
        (["-e", "logml"], 2, "did you mean logmel?"),
    ],
)
def test_what_is_wrong_with_a_class_is_said(
    recordings: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "mine.py").write_text(OWN_EMBEDDER)
    said = run("featstore", "build", recordings, "store", *words, cwd=tmp_path, code=code)
    assert message in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.ray
def test_a_class_of_the_current_folder_reaches_ray(recordings: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "mine.py").write_text(OWN_EMBEDDER)
    build = ["build", recordings, "store", "-e", "mine:Loudness", "--engine", "ray", "--actors", 1]
    assert "mine:Loudness holds 12 rows" in run("featstore", *build, cwd=tmp_path)


FAILING = """
import numpy as np
class Detector:
    def __init__(self, *, where: str): self.where = where
    def fit(self, X): return self if self.where != "fit" else X.missing
    def anomaly_score(self, X): return X.missing
"""


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ("bad:Detector", 2, "Error: where must be given, as bad:Detector:where=VALUE"),
        ("bad:Detector:where=fit", 1, "machine fan section 00: Detector.fit: AttributeError: "),
        ("bad:Detector:where=score", 1, "machine fan section 00: Detector.anomaly_score: AttributeError: "),
    ],
)
def test_errors_in_a_detector_of_one_s_own_are_one_line(
    recordings: Path, tmp_path: Path, spec: str, code: int, message: str
) -> None:
    (tmp_path / "bad.py").write_text(FAILING)
    layout = recordings.parent / "folders"
    for path in recordings.glob("*.wav"):
        (layout / path.name.partition("-")[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, layout / path.name.partition("-")[0])
    run("featstore", "build", layout, "store", "-e", "logmel", "--workers", 0, cwd=tmp_path)
    said = run("detect", "store", "-d", spec, "-e", "logmel@mean", cwd=tmp_path, code=code)
    assert message in said
    assert "Traceback" not in said
