"""Reported clips that were recorded differently: a line before the table, and a column of scores.csv."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acquired import recordings
from click.testing import CliRunner, Result

from ensemble.checks.recorded import recorded_warning
from ensemble.cli import main
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.store import EmbeddingInfo, FeatureStore, ShardData, StoreWriter

SLOW: dict[str, object] = {"sample_rate_hz": 8000, "n_samples": 80_000}
LOUD: dict[str, object] = {"level_dbfs": 60.0}
SILENT: dict[str, object] = {"outcome": "silent"}
DETECTOR = "mahalanobis:covariance=ledoit_wolf"
ODD = {20: SILENT, 21: SLOW, 22: LOUD, 23: LOUD, 24: {**SLOW, **LOUD}}


def store_of(path: Path, odd: dict[int, dict[str, object]], test: int = 10) -> FeatureStore:
    """Clips 20 to 26 are far from the others."""
    data = recordings(20, test, odd=odd)
    info = EmbeddingInfo("e", (4,), "float32", "f", channel="0", length="native")
    matrix = np.random.default_rng(0).normal(size=(len(data), 4)).astype(np.float32)
    matrix[20:26] += 40 * np.array([[1, -1, 1, -1]], dtype=np.float32)
    with StoreWriter(path) as writer:
        return writer.commit([ShardData(info, data.clips, matrix, dict(data.facts))])


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_a_warning_stands_before_the_table_and_the_kinds_in_a_column(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", {**ODD, 29: LOUD})
    done = run(store.path, "-d", DETECTOR, "-e", "e", "--workers", "1", "-o", tmp_path / "r")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("warning: ")]
    assert (
        lines[at + 1]
        == "The 10 most anomalous (percentile: share of the normal training clips of the section with a lower score):"
    )
    with (tmp_path / "r" / "scores.csv").open(newline="") as file:
        rows = {row["clip"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    reported = sum(row["decision"] == "1" for row in rows.values())
    differing = [row["recording"] for row in rows.values() if row["decision"] == "1" and row["recording"]]
    start = (
        f"warning: {len(differing)} of the {reported} reported clips were recorded differently from the training clips"
    )
    assert lines[at].startswith(start)
    assert lines[at].endswith("): check the recording first")
    assert f"level {sum('level' in kinds for kinds in differing)}" in lines[at]
    assert [rows[f"{i:03d}.wav"]["recording"] for i in range(5)] == [
        "silence",
        "sample rate",
        "level",
        "level",
        "sample rate; level",
    ]
    assert rows["009.wav"]["recording"] == "level"
    assert rows["008.wav"]["recording"] == ""
    as_json = run(store.path, "-d", DETECTOR, "-e", "e", "--workers", "1", "-o", tmp_path / "r", "--json")
    assert lines[at] in as_json.stderr.splitlines()
    assert run("evaluate", tmp_path / "r" / "scores.csv", store.path).exit_code == 1, "no anomalies, but it is read"


def test_without_a_difference_there_is_neither(tmp_path: Path) -> None:
    detection = detect(store_of(tmp_path / "s", {}), Recipe((Member("e", DETECTOR),)), workers=0)
    assert detection.decision.any()
    assert recorded_warning(detection) == ""
    assert detection.recorded == {}


@pytest.mark.parametrize(("test", "bank"), [(10, "the training clips"), (0, "the other clips")])
def test_one_clip_is_counted_among_the_reported_ones_only(tmp_path: Path, test: int, bank: str) -> None:
    detection = detect(store_of(tmp_path / "s", {19: LOUD}, test), Recipe((Member("e", DETECTOR),)), workers=0)
    key = detection.clips.keys()[0]
    reported = np.zeros(len(detection.clips), dtype=bool)
    reported[:2] = True
    given = replace(detection, recorded={key: ("level",)}, decided=replace(detection.decided, reported=reported))
    assert recorded_warning(given) == (
        f"warning: 1 of the 2 reported clips was recorded differently from {bank} (level 1): check the recording first"
    )
    none = replace(given, decided=replace(detection.decided, reported=~reported))
    assert recorded_warning(none) == ""


def test_notes_are_in_the_order_of_importance(tmp_path: Path) -> None:
    copy: dict[str, object] = {"content_hash": "f" * 32}
    detection = detect(
        store_of(tmp_path / "s", {**ODD, 0: copy, 26: copy}), Recipe((Member("e", DETECTOR),)), workers=0
    )
    notes = replace(detection, remarks=("a remark",)).notes
    words = ("featstore check", "same content as a training clip", "a remark")
    places = [[word in note for note in notes].index(True) for word in words]
    assert places == sorted(places)
