"""`detect archive --index`: recall is measured, indexes are stored beside the reference, damaged ones are rebuilt."""

import json
from pathlib import Path

import numpy as np
import pytest
from archive_stores import D, add, clips, content
from click.testing import CliRunner, Result

pytest.importorskip("pyarrow")
pytest.importorskip("faiss")

from ensemble.archive import run as archive_module
from ensemble.cli import main

pytestmark = pytest.mark.usefixtures("unsynced")


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Banks of 300 clips in two parts, and 120 clips in three units, sorted so that the units differ."""
    monkeypatch.setattr(archive_module, "UNIT_ROWS", 40)
    rng = np.random.default_rng(4)
    add(tmp_path / "bank", clips(600, "bank", parts=2), rng.normal(size=(600, D)).astype(np.float32), per_shard=600)
    X = rng.normal(size=(120, D)) + np.repeat(np.eye(D)[:3] * 5, 40, axis=0)
    add(tmp_path / "archive", clips(120, "archive", split="test", parts=2), X.astype(np.float32), per_shard=40)
    return tmp_path


def run(plant: Path, *more: object, out: str = "out") -> Result:
    words = ["archive", plant / "bank", plant / "archive", "-o", plant / out, *more]
    return CliRunner().invoke(main, [str(word) for word in words])


def summary(plant: Path, out: str = "out") -> dict:
    return json.loads((plant / out / "archive.json").read_text())


def test_with_every_list_searched_the_results_are_exact(plant):
    assert run(plant, "-k", 2, out="exact").exit_code == 0
    assert run(plant, "-k", 2, "--index", "ivf", "--probes", 1000).exit_code == 0
    for row, exact in zip(content(plant / "out"), content(plant / "exact"), strict=True):
        for (name, value), (_, expected) in zip(row, exact, strict=True):
            assert value == (pytest.approx(expected, abs=1e-12) if isinstance(expected, float) else expected), name


def test_the_estimate_samples_all_units_and_is_printed_and_stored(plant):
    result = run(plant, "--index", "hnsw")
    assert result.exit_code == 0
    estimates = summary(plant)["estimates"]
    assert sorted(estimates) == ["fan 00", "valve 00"]
    for name, estimate in estimates.items():
        assert estimate["sample"] == 60, "all 20 clips of each of three units"
        assert 0 <= estimate["recall_low"] <= estimate["recall"] <= estimate["recall_high"] <= 1
        assert f"note: {name}: hnsw: recall@1 {estimate['recall']:.4f}" in result.stderr
    assert "exact search is as fast in a bank of 300 rows" in result.stderr
    assert "--index is approximate: clips whose neighbours it misses score too high" in result.stderr
    records = list((plant / "bank.index" / "x").glob("*.json"))
    assert sorted(json.loads(path.read_text())["estimate"]["recall"] for path in records) == sorted(
        estimate["recall"] for estimate in estimates.values()
    )


def test_a_run_with_nothing_to_do_keeps_the_estimates(plant):
    assert run(plant, "--index", "ivf").exit_code == 0
    before = summary(plant)["estimates"]
    assert run(plant, "--index", "ivf").exit_code == 0
    assert summary(plant)["estimates"] == before != {}


def test_an_index_is_used_again_and_a_damaged_one_is_rebuilt(plant):
    assert "built" in run(plant, "--index", "ivf").stderr
    again = run(plant, "--index", "ivf", out="again")
    assert "built" not in again.stderr
    for path in (plant / "bank.index" / "x").glob("*.ivf"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    damaged = run(plant, "--index", "ivf", out="damaged")
    assert damaged.exit_code == 0
    assert damaged.stderr.count("is damaged") == 2
    assert content(plant / "damaged") == content(plant / "again")


def test_settings_without_effect_are_refused(plant):
    assert run(plant, "--probes", 3).exit_code == 2
    assert "--probes needs --index" in run(plant, "--probes", 3).stderr
    assert run(plant, "--index", "ivf").exit_code == 0
    other = run(plant, "--index", "ivf", "--probes", 3)
    assert other.exit_code == 1
    assert "probes" in other.stderr


def test_banks_must_fit_into_memory(plant):
    result = run(plant, "--index", "ivf", "--memory", "150kB")
    assert result.exit_code in (1, 5)
    assert "--memory" in result.stderr
