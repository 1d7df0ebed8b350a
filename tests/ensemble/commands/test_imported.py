"""From a table of another program to scores, as the command line: import, a detector, and the chosen ensemble."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from view_store import listed, patterned

from ensemble.cli import main as detect
from featstore.cli import main as featstore

pytestmark = pytest.mark.usefixtures("unsynced")
CLIPS = listed(train=24)


def write_table(path: Path) -> np.ndarray:
    """A CSV table of clips and vectors; those of the last test clips are far from all others. Returns which."""
    X = patterned(len(CLIPS))
    odd = np.array([clip.split == "test" and number % 4 == 2 for number, clip in enumerate(CLIPS)])
    X[odd] += np.random.default_rng(1).normal(scale=3, size=(int(odd.sum()), X.shape[1]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "machine", "section", "split", *(f"dim_{i}" for i in range(X.shape[1]))])
        for clip, vector in zip(CLIPS, X, strict=True):
            writer.writerow([clip.path, clip.machine, clip.section, clip.split, *vector])
    return odd


def run(command: object, *words: object, code: int = 0) -> str:
    result = CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == code, result.output
    return result.output


def ranked(out: Path) -> list[str]:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["clip"] for row in sorted(rows, key=lambda row: -float(row["score"]))]


def test_a_table_becomes_scores(tmp_path: Path) -> None:
    odd = write_table(tmp_path / "table.csv")
    said = run(featstore, "import", tmp_path / "store", tmp_path / "table.csv", "--as", "mine")
    assert said.splitlines() == [
        f"{tmp_path / 'table.csv'}: embeddings of dim_0 to dim_11",
        f"{tmp_path / 'store'}: 72 rows imported as mine",
    ]
    odd_clips = {clip.path for clip, is_odd in zip(CLIPS, odd, strict=True) if is_odd}
    run(detect, "run", tmp_path / "store", "-d", "knn", "-e", "mine", "-o", tmp_path / "knn")
    assert set(ranked(tmp_path / "knn")[: len(odd_clips)]) == odd_clips
    run(detect, "run", tmp_path / "store", "--ensemble", "--perturb", "-o", tmp_path / "chosen")
    assert set(ranked(tmp_path / "chosen")[: len(odd_clips)]) == odd_clips
    assert "mine" in json.dumps(json.loads((tmp_path / "chosen" / "selection.json").read_text()))


def test_a_mismatch_is_one_line_and_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("name,e0,e1\na.wav,1,2\n")
    said = run(featstore, "import", tmp_path / "store", tmp_path / "table.csv", "--as", "mine", code=1)
    assert said.splitlines()[-1].startswith(f"error: {tmp_path / 'table.csv'}: no description of its rows: expected")
    assert not (tmp_path / "store").exists()
