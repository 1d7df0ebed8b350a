"""`detect evaluate` on stores that give no AUC, and which notes a run prints beside a leave-one-out AUC."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fitted_plant import listed, store_of

from ensemble.cli import main
from featstore.clip import Clip

OPTIONS = ("-d", "knn", "-e", "v@low", "--workers", "1")


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def kept(*labels: str) -> list[Clip]:
    """Training clips of one domain, and the test clips with these labels."""
    return [
        Clip(c.path, c.machine, c.section, c.split, "unknown", c.label if c.label in labels else "unknown")
        for c in listed(machines=["bearing"])
        if c.split == "train" or c.label in labels or not labels
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["anomaly"], "no normal test recordings, so no AUC; put some in bearing/test/normal and build again"),
        (["normal"], "no anomalous test recordings, so no AUC; put some in bearing/test/abnormal and build again"),
        ([], "no test clip has a label; --ground-truth takes"),
    ],
)
def test_labels_of_one_class_are_said_in_one_line(tmp_path: Path, labels: list[str], message: str) -> None:
    store_of(tmp_path / "s", kept(*labels))
    done = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert done.exit_code == 0, done.output
    evaluated = run("evaluate", tmp_path / "r" / "scores.csv", tmp_path / "s")
    assert evaluated.exit_code == 1
    assert message in evaluated.stderr
    assert ("--ground-truth" in evaluated.stderr) == (not labels)


def test_a_leave_one_out_auc_takes_the_place_of_notes_on_missing_normal_clips(tmp_path: Path) -> None:
    store_of(tmp_path / "s", kept("anomaly"))
    done = run(tmp_path / "s", *OPTIONS, "-o", tmp_path / "r")
    assert "auc against training clips" in done.stdout
    assert "left out of the metrics" not in done.stderr
    store_of(tmp_path / "t", kept("normal"))
    assert (
        "left out of the metrics: bearing section 00: no anomaly"
        in run(tmp_path / "t", *OPTIONS, "-o", tmp_path / "r").stderr
    )
