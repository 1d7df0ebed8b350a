"""The whole way on real recordings: UAV flights under real background noise, from WAV files to official figures."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from places import SHARED_DATA

from ensemble.defaults import default_recipe
from ensemble.output import measure, score_table
from ensemble.recipe import Recipe
from ensemble.run import detect
from featstore.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = SHARED_DATA / "make_uav_benchmark.py"
    if not script.exists():
        pytest.skip(f"real recordings not present beside the checkout ({script})")
    root = tmp_path_factory.mktemp("uav")
    subprocess.run(
        [sys.executable, str(script), str(root / "data"), "--snr-db", "-10"], check=True, capture_output=True
    )
    build = [sys.executable, "-m", "featstore.cli", "build", str(root / "data"), str(root / "store")]
    result = subprocess.run([*build, "-e", "logmel", "-e", "twfr"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return root / "store"


def test_the_default_ensemble_is_at_least_its_median_member(store: Path) -> None:
    opened = FeatureStore.open(store)
    default = default_recipe(opened)

    def official(recipe: Recipe) -> float:
        detection = detect(opened, recipe)
        return measure(score_table(detection), detection.clips, 2023)[0].score

    members = [official(Recipe((member,))) for member in default.members]
    assert official(default) >= statistics.median(members)
    assert max(members) > 0.8, "published log-mel figures are reached by the best member"


def test_the_command_prints_official_figures(store: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ensemble.cli",
        str(store),
        "-d",
        "mahalanobis:standardize=true",
        "-e",
        "logmel@mean",
    ]
    result = subprocess.run([*command, "-o", str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {row["section"] for row in metrics["sections"]} == {"00", "01", "02", "03"}
    assert metrics["official_score"]["value"] == pytest.approx(0.834, abs=0.01)
