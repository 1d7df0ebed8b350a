"""The lines of docs/pretrained.md on DCASE 2026 run on a small stand-in for its data."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dcase2026 import TEST, record_dcase2026
from places import ROOT
from small_models import save_beats

from detectors.metrics.scores import read_scores
from ensemble.cli import main as detect
from featstore.cli import main as featstore
from featstore.store import FeatureStore

PAGE = (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## DCASE 2026 in ten lines\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
assert SECTION
LINES = [shlex.split(line, comments=True) for line in re.findall(r"^ {4}(.*)$", SECTION[1], re.MULTILINE)]
NOT_RUN = ["featstore", "download", "dcase2026", "--dest", "dcase2026"]


def test_there_are_ten_lines_and_one_needs_the_network() -> None:
    assert len(LINES) == 10
    assert LINES.count(NOT_RUN) == 1


@pytest.mark.usefixtures("unsynced")
def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record_dcase2026(tmp_path / "dcase2026")
    save_beats(tmp_path / "BEATs_iter3.pt")
    for kind, values in (("data", "01"), ("domain", "0011")):
        truth = tmp_path / "evaluator" / f"ground_truth_{kind}" / "ground_truth_ToyDrone_section_00_test.csv"
        truth.parent.mkdir(parents=True)
        truth.write_text("".join(f"section_00_{i:04d}.wav,{values[i % len(values)]}\n" for i in range(TEST)))
    printed = {}
    for program, *words in LINES:
        if [program, *words] == NOT_RUN:
            continue
        if program == "ls":
            listed = sorted(path.name for path in (tmp_path / words[0]).iterdir())
            continue
        in_one_process = ["--workers", "0"] if words[0] == "build" else []
        done = CliRunner().invoke({"featstore": featstore, "detect": detect}[program], [*words, *in_one_process])
        assert done.exit_code == 0, f"{program} {' '.join(words)}\n{done.output}"
        printed[" ".join(words)] = done.output
    scores = [f"{kind}_ToyDrone_section_00_test.csv" for kind in ("anomaly_score", "decision_result")]
    assert listed == ["Lastname_Institute_task2_1.meta.yaml", *scores], "of the evaluation machine alone"
    near, left = (FeatureStore.open(tmp_path / name) for name in ("near-store", "store"))
    assert (near.info("beats").channel, left.info("beats").channel) == ("0", "0-1")
    assert near.info("beats").shape == left.info("beats").shape == (8, 16)
    assert not np.allclose(near.matrix("beats"), left.matrix("beats"))
    assert json.loads((tmp_path / "results" / "metrics.json").read_text())["rule"] == 2026
    assert len(read_scores(tmp_path / "results" / "scores.csv").keys) == 2 * TEST
    evaluated = [text for words, text in printed.items() if words.startswith("evaluate")]
    assert len(evaluated) == 2
    assert all(re.search(r"^ToyDrone +00 ", text, re.MULTILINE) for text in evaluated)
    assert "layout dcase2026" in printed["check dcase2026"]
