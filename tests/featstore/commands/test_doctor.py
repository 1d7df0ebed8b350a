"""`featstore doctor` as a user runs it: what it prints, as JSON too, and its exit code where a probe fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from featstore.cli import main
from featstore.clip import Clip
from featstore.doctor import examine, requirements
from featstore.exchange.embeddings import import_matrix
from featstore.table import ClipTable

ODD = "a\x1b[31m\nstore"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, args)])


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the probes of torch and faiss answer, without their processes."""
    known = {
        "gpu": {"torch": "2.6", "devices": [], "why": "built without CUDA"},
        "faiss": {"version": "1.9", "gpus": 0, "kernel": "", "slow": False, "better": ""},
    }

    class Known:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> "Known":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def answer(self) -> dict[str, object]:
            return known[self.name]

    monkeypatch.setattr(examine, "Apart", Known)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    clips = [Clip(f"fan/test/{i}.wav", "fan", "00", "test", "source", "unknown") for i in range(3)]
    import_matrix(tmp_path / ODD, "e", np.eye(3, dtype=np.float32), ClipTable.from_clips(clips))
    return tmp_path / ODD


def test_a_whole_installation(store: Path) -> None:
    result = run(store)
    assert result.exit_code == 0, result.output
    for text in ("libsndfile", "usable", "free of", "built without CUDA", "e (3 rows)", "locks, hard links"):
        assert text in result.stdout
    assert "The base installation works." in result.stdout
    assert "\x1b" not in result.stdout
    assert "a\\x1b[31m\\nstore" in result.stdout


def test_json_has_the_same(store: Path) -> None:
    report = json.loads(run(store, "--json", "--no-gpu").stdout)
    assert report["ok"] is True
    names = [finding["name"] for finding in report["findings"]]
    assert {"featstore", "Python", "cores", "memory", "sound files", "file system", "store", "faiss"} <= set(names)
    assert "GPU" not in names
    assert {library["name"] for library in report["libraries"]} >= {"torch", "numpy"}
    assert {extra["name"] for extra in report["extras"]} >= {"review", "cpu"}


def test_an_installation_without_numpy_is_examined_all_the_same(tmp_path: Path) -> None:
    """The examination itself must not need what may be broken."""
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy was built for another Python')\n")
    places = os.pathsep.join([str(tmp_path), str(Path(examine.featstore.__file__).parents[1])])
    call = "from featstore.cli import main; main(['doctor', '--no-gpu', '--json'])"
    command = [sys.executable, "-c", call]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["libraries"]["state"] == "BROKEN"
    assert "numpy was built for another Python" in findings["libraries"]["text"]
    assert findings["libraries"]["mend"].startswith("pip install --force-reinstall numpy")
    assert findings["temporary files"]["state"] in {"ok", "note"}


PROBES = [
    ("cores_found", "cores", 0),
    ("memory_found", "memory", 0),
    ("blas_found", "numpy's BLAS", 0),
    ("space_found", "temporary files", 0),
    ("variables_found", "environment", 0),
    ("faiss_found", "faiss", 0),
    ("file_system_found", "file system", 0),
    ("formats_found", "sound files", 1),
    ("gpu_found", "GPU", 1),
    ("store_found", "store", 1),
]


@pytest.mark.parametrize(("probe", "name", "code"), PROBES)
def test_a_probe_that_fails_says_why_and_ends_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch, probe: str, name: str, code: int
) -> None:
    def fails(*args: object) -> None:
        raise RuntimeError("no such thing here")

    monkeypatch.setattr(examine, probe, fails)
    report = run(store, "--json")
    assert report.exit_code == code, report.output
    found = {finding["name"]: finding for finding in json.loads(report.stdout)["findings"]}
    assert found[name]["text"] == "unknown: RuntimeError: no such thing here"
    assert found[name]["state"] == ("BROKEN" if code else "note")
    assert "Python" in found
    assert "environment" in found


@pytest.mark.parametrize(
    ("versions", "text"),
    [({"h5py": ""}, "h5py is not installed"), ({"torch": "2.5.1+cpu"}, "torch 2.5.1+cpu is older than 2.6")],
)
def test_a_library_of_the_base_that_is_missing_or_old_is_broken(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], text: str
) -> None:
    real: Callable[[str], str] = requirements.installed
    monkeypatch.setattr(requirements, "installed", lambda name: versions.get(name, real(name)))
    result = run()
    assert result.exit_code == 1
    assert f"What does not work:\n  {text}\n" in result.stdout
    assert "  libraries: pip install --upgrade featstore" in result.stdout


def test_a_missing_extra_is_no_error_and_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[str], str] = requirements.installed
    monkeypatch.setattr(requirements, "installed", lambda name: "" if name == "uvicorn" else real(name))
    result = run()
    assert result.exit_code == 0, result.output
    assert "  pip install 'featstore[review]'    for detect review\n" in result.stdout


def test_a_library_that_does_not_load_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(name: str) -> None:
        if name == "soxr":
            raise ImportError("wrong ELF class")

    monkeypatch.setattr(examine, "import_module", loads)
    result = run()
    assert result.exit_code == 1
    assert "cannot be imported: soxr (ImportError: wrong ELF class)" in result.stdout
    assert "pip install --force-reinstall soxr" in result.stdout


def test_a_format_that_is_not_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featstore.doctor.sound.is_read", lambda name: name != "MP3")
    result = run()
    assert (result.exit_code, "; nor MP3" in result.stdout) == (0, True)
    monkeypatch.setattr("featstore.doctor.sound.is_read", lambda name: name != "FLAC")
    assert run().exit_code == 1


def test_a_damaged_store_is_broken(store: Path) -> None:
    for manifest in (store / "manifest").iterdir():
        manifest.write_bytes(b"x")
    result = run(store)
    assert result.exit_code == 1
    assert "BROKEN  store" in result.stdout
