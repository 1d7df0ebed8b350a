"""`detect report` as a user drives it: options, the folder of the last build, marks, and what it prints."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_plant import plant, record, store_of

from ensemble.cli import main
from ensemble.commands import run as commands
from ensemble.marks.file import Mark, append_mark
from featstore.building.state import BuildState, write_state


def report(*args: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, args)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store_of(tmp_path / "store", plant())
    return tmp_path / "store"


KNN = ("-d", "knn", "-e", "e")


def test_the_command_writes_the_page(store: Path, tmp_path: Path, data: Path) -> None:
    selection = {"rho": 0.8123456, "pairs": [{"pair": "<i>tone</i>", "rho": 0.5}], "weights": {"tone@0": 0.25}}
    (tmp_path / "sel.json").write_text(json.dumps({**selection, "candidates": [{"name": "e knn", "score": 0.7}]}))
    args = [store, *KNN, "--data", data, "--top", 3, "-o", tmp_path / "a" / "r.html"]
    args += ["--selection", tmp_path / "sel.json"]
    result = report(*args)
    assert result.exit_code == 0, result.output
    assert "wrote" in result.stderr
    assert "easier to mail" not in result.stderr
    text = (tmp_path / "a" / "r.html").read_text()
    assert text.count("<audio") == 6
    assert "0.8123" in text
    assert "&lt;i&gt;tone" in text
    assert "Official score of the members on generated and on real anomalies" in text
    assert "Rank correlation" not in text, "a single member has no rank correlation"
    wrong = report(*args, "--data", store)
    assert wrong.exit_code == 1
    assert "none of the recordings is below --data" in wrong.stderr


def test_a_large_page_says_how_to_make_it_smaller(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LARGE_REPORT", 1000)
    assert "a smaller --top or --seconds makes it easier to mail" in report(store, *KNN, "-o", tmp_path / "r").stderr


def test_the_folder_of_the_last_build_is_used_and_named(store: Path, tmp_path: Path) -> None:
    root = record(tmp_path / "recordings", plant())
    without = report(store, *KNN, "-o", tmp_path / "r.html")
    assert "of the last build" not in without.stderr
    assert "Players and pictures are missing" in (tmp_path / "r.html").read_text()
    write_state(store, BuildState(str(root), 72, True))
    result = report(store, *KNN, "-o", tmp_path / "r.html", "--top", 2)
    assert f"made from {root}, the folder of the last build" in " ".join(result.stderr.split())
    text = (tmp_path / "r.html").read_text()
    assert text.count("<audio") == 4
    assert "those in the folder of the last build" in text
    assert str(root) not in text, "a report that is mailed names no folder of this machine"
    for path in root.rglob("*.wav"):
        path.unlink()
    assert report(store, *KNN, "-o", tmp_path / "r.html").exit_code == 0
    assert "the folder of the last build lacks these recordings" in (tmp_path / "r.html").read_text()


def test_players_are_at_most_as_long_as_asked(store: Path, tmp_path: Path, data: Path) -> None:
    report(store, *KNN, "--data", data, "--seconds", 0.5, "--top", 1, "-o", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "This clip: first 0.5 s" in text
    assert 'data-seconds="0.5"' in text
    for seconds in (0, 601, "nan"):
        assert report(store, *KNN, "--seconds", seconds, "-o", tmp_path / "r.html").exit_code == 2


def test_marks_are_shown_with_who_and_when(store: Path, tmp_path: Path) -> None:
    for clip in plant():
        if clip.split == "test":
            append_mark(store, Mark(clip=clip.path, mark="fault", who="Ana", when="2026-11-30T20:57:38Z", note="belt"))
    assert report(store, *KNN, "--top", 24, "-o", tmp_path / "r.html").exit_code == 0
    text = (tmp_path / "r.html").read_text()
    assert 'Marked fault by <bdi class="name">Ana</bdi> on 2026-11-30 20:57: belt' in text
    report(store, *KNN, "--no-marks", "--top", 24, "-o", tmp_path / "r.html")
    assert "Marked fault" not in (tmp_path / "r.html").read_text()
