"""What `detect run` answers before it works, what it leaves behind, and the forms of its scores."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fitted_plant import listed, store_of

from ensemble.cli import main
from ensemble.output import removed_if_empty
from featstore.clip import Clip

OPTIONS = ("-d", "knn", "-e", "v@low", "--workers", "1")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ends") / "s"
    store_of(path, listed())
    return path


def test_a_file_in_the_place_of_a_store_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "new.wav").touch()
    result = run(tmp_path / "new.wav")
    assert result.exit_code == 2
    assert f"To score a recording: detect score MODEL {tmp_path / 'new.wav'}" in result.stderr


def test_a_missing_store_that_looks_like_a_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("scores", "--ensemble")
    assert result.exit_code == 2
    assert "Did you mean 'score'? And no store 'scores' exists here." in result.stderr


@pytest.mark.parametrize(
    ("command", "kind"),
    [("run", "folder"), ("report", "file"), ("fit", "file"), ("select", "file"), ("archive", "folder")],
)
def test_an_output_of_the_wrong_kind_is_refused_at_once(store: Path, tmp_path: Path, command: str, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.write_text("mine")
    else:
        out.mkdir()
    arguments = [store, store, "-e", "h"] if command == "archive" else [store]
    more = OPTIONS if command == "run" else ()
    result = run(command, *arguments, *more, "-o", out)
    assert result.exit_code == 2, result.output
    assert "is a directory" in result.stderr or "is a file" in result.stderr
    assert "/s" not in result.stderr.partition("Error")[0], "no progress was shown"
    assert out.is_dir() or out.read_text() == "mine"


def test_a_run_that_stops_leaves_no_empty_folder(store: Path, tmp_path: Path) -> None:
    failed = run(store, *OPTIONS, "--machine", "nobody", "-o", tmp_path / "a")
    assert failed.exit_code == 1
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    assert run(store, *OPTIONS, "--machine", "nobody", "-o", tmp_path / "b").exit_code == 1
    assert (tmp_path / "b").is_dir(), "a folder that was there stays"
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "c", [])
    assert not (tmp_path / "c").exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "d", ["scores.csv"])
    assert (tmp_path / "d" / "scores.csv").exists()


def interrupted(out: Path, files: list[str]) -> None:
    """A run that is interrupted after it wrote `files` to `out`."""
    with removed_if_empty(out):
        out.mkdir()
        for name in files:
            (out / name).touch()
        raise KeyboardInterrupt


def test_a_group_that_no_clip_has_is_said_before_a_choice(tmp_path: Path) -> None:
    store_of(tmp_path / "s", [Clip(c.path, c.machine, c.section, c.split, c.domain, c.label) for c in listed()])
    result = run(tmp_path / "s", "--ensemble", "--perturb", "--group", "day", "-o", tmp_path / "r")
    assert result.exit_code == 1
    assert "no training clip has a day" in result.stderr
    assert "fixed default" not in result.stderr


def test_a_section_that_the_official_scripts_would_not_find_is_refused(tmp_path: Path) -> None:
    clips = [Clip(c.path, c.machine, c.section[1:], c.split, c.domain, c.label) for c in listed()]
    store_of(tmp_path / "s", clips)
    result = run(tmp_path / "s", *OPTIONS, "--format", "dcase", "-o", tmp_path / "r")
    assert result.exit_code == 1
    assert "machine fan section '0': the official scripts read files of sections with two digits" in result.stderr
    assert "write the section as text" in result.stderr
    assert not (tmp_path / "r" / "dcase").exists()


def test_parquet_holds_the_rows_of_the_csv_with_sections_as_text(store: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    result = run(store, *OPTIONS, "--format", "parquet", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "scores.parquet" in result.stderr
    table = parquet.read_table(tmp_path / "scores.parquet").to_pylist()
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(table[0]) == list(rows[0])
    assert {row["section"] for row in table} == {"00", "01"}
    assert [row["clip"] for row in table] == [row["clip"] for row in rows]
    np.testing.assert_array_equal([row["score"] for row in table], [float(row["score"]) for row in rows])
    assert [row["decision"] for row in table] == [int(row["decision"]) for row in rows]
    assert run(store, *OPTIONS, "-o", tmp_path).exit_code == 0
    assert not (tmp_path / "scores.parquet").exists(), "no two runs mix"


@pytest.mark.parametrize(("n", "reported"), [(12, 0), (18, 0), (19, 1)])
def test_ranked_clips_that_are_too_few_to_be_reported_are_said_so(tmp_path: Path, n: int, reported: int) -> None:
    clips = [Clip(f"{i:02d}.wav", "fan", "00", "train") for i in range(n)]
    store_of(tmp_path / "s", clips)
    result = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert result.exit_code == 0, result.output
    said = f"none of its {n} clips can be reported at a false-alarm rate of 0.1" in result.stderr
    assert said == (reported == 0)
    assert f"{reported} of {n} clips reported" in result.stdout
    assert ("ranked among themselves" in result.stdout) == (reported > 0), "of banks that can report"
    if not reported:
        assert "at least 19 clips are needed" in result.stderr
        rate = result.stderr.partition("or --fpr ")[2].split()[0]
        again = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r", "--fpr", rate)
        assert f"1 of {n} clips reported" in again.stdout
        assert "can be reported" not in again.stderr
