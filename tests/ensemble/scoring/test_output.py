"""Verdicts as records and lines; a file is whole or absent."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ensemble.scoring.output import COLUMNS, csv_lines, json_line, write_parquet
from ensemble.scoring.score import Outcome
from ensemble.scoring.verdict import Verdict
from featstore.clip import Clip
from featstore.errors import DataError

VERDICT = Verdict("fan", "00", 0.0, 2.0, 0.9, 0.95, 0.05, 0.8, True, None, "n,1.wav", float("nan"), {"logmel knn": 0.5})
SCORED = Outcome(Clip('a "b", c.wav#t=0,2', "fan", "00", "test"), VERDICT)
REJECTED = Outcome(Clip("d.wav", "fan", "00", "test"), None, "empty")


def test_json_lines_have_no_nan_and_name_the_recording() -> None:
    raw = json.loads(json_line(SCORED))
    assert raw["clip"] == 'a "b", c.wav'
    assert raw["nearest_distance"] is None
    assert json.loads(json_line(REJECTED)) == {"type": "rejected", "clip": "d.wav", "rejected": "empty"}


def test_csv_has_one_header_and_the_scored_clips() -> None:
    lines = list(csv_lines([REJECTED, SCORED, REJECTED, SCORED]))
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert len(lines) == 3
    assert list(rows[0]) == [*COLUMNS, "logmel knn"]
    assert (rows[0]["clip"], rows[0]["nearest_normal"], rows[0]["target_probability"]) == (
        'a "b", c.wav',
        "n,1.wav",
        "",
    )
    assert list(csv_lines([REJECTED])) == []


def test_parquet_in_several_groups(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    outcomes = [SCORED, REJECTED, *[replace(SCORED, verdict=replace(VERDICT, score=float(i))) for i in range(4)]]
    assert list(write_parquet(tmp_path / "a.parquet", outcomes, group=2)) == outcomes
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column("score").to_pylist() == [0.9, 0.0, 1.0, 2.0, 3.0]
    assert table.column_names == [*COLUMNS, "logmel knn"]
    assert list(write_parquet(tmp_path / "b.parquet", [REJECTED])) == [REJECTED]
    assert parquet.read_table(tmp_path / "b.parquet").num_rows == 0


def test_an_interrupted_parquet_file_does_not_appear(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    def outcomes() -> Iterator[Outcome]:
        yield SCORED
        raise DataError("stop")

    with pytest.raises(DataError, match="stop"):
        list(write_parquet(tmp_path / "a.parquet", outcomes(), group=1))
    assert list(tmp_path.iterdir()) == []
