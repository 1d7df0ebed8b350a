"""Development and evaluation data in one store: the evaluation data are submitted, the development data measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from fitted_plant import INFOS, listed, rows_of

from ensemble.cli import main
from ensemble.submission.archive import zip_team
from ensemble.submission.fill import expected_clips
from featstore.store import FeatureStore, Rejection, ShardData, StoreWriter
from featstore.table import ClipTable

STAGE = {"fan": "dev_data", "pump": "eval_data"}
BROKEN = {stage: f"{stage}/{machine}/test/section_00_999.wav" for machine, stage in STAGE.items()}
LABEL = "Miller_EU_task2_1"


def store_of(path: Path, *rejected: str) -> FeatureStore:
    """A development and an evaluation machine, both with labels, and rejected recordings."""
    clips = [
        replace(clip, path=f"{STAGE[clip.machine]}/{clip.path}", domain=("source", "target")[i // 2 % 2])
        for i, clip in enumerate(listed())
    ]
    items = [Rejection(name, "truncated", 1, 1) for name in rejected]
    with StoreWriter(path) as writer:
        return writer.commit([ShardData(INFOS["v"], ClipTable.from_clips(clips), rows_of(clips)["v"], {}, items)])


def run(store: FeatureStore, out: Path, *more: str) -> Result:
    options = ["-d", "knn", "-e", "v@low", "--format", "dcase", "--label", LABEL, "--year", "2026", "-o", str(out)]
    return CliRunner().invoke(main, [str(store.path), *options, *more])


def machines(folder: Path) -> set[str]:
    return {path.name.split("_")[2] for path in folder.glob("*.csv")}


def test_results_are_those_of_the_development_data_also_where_the_truth_is_known(tmp_path: Path) -> None:
    done = run(store_of(tmp_path / "s"), tmp_path)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "dcase" / "task2" / LABEL
    assert machines(folder) == {"pump"}
    meta = yaml.safe_load((folder / f"{LABEL}.meta.yaml").read_text())
    assert set(meta["results"]["development_dataset"]) == {"fan"}


def test_a_rejected_development_recording_stops_no_submission(tmp_path: Path) -> None:
    done = run(store_of(tmp_path / "s", BROKEN["dev_data"]), tmp_path)
    assert done.exit_code == 3, "as of every run that leaves out a recording"
    assert machines(tmp_path / "dcase" / "task2" / LABEL) == {"pump"}


@pytest.mark.parametrize("fill", [False, True])
def test_a_rejected_evaluation_recording_is_filled_in_or_stops_the_submission(tmp_path: Path, fill: bool) -> None:
    store = store_of(tmp_path / "s", *BROKEN.values())
    done = run(store, tmp_path, *(["--fill-missing"] if fill else []))
    assert done.exit_code == 3
    expected = set(expected_clips(store).keys())
    assert BROKEN["eval_data"] in expected
    assert BROKEN["dev_data"] not in expected
    if not fill:
        assert f"would lack 1 clip: {BROKEN['eval_data']} (rejected: truncated)" in done.stderr
        assert not (tmp_path / "dcase").exists()
        return
    folder = tmp_path / "dcase" / "task2" / LABEL
    assert "section_00_999.wav,1\n" in (folder / "decision_result_pump_section_00_test.csv").read_text()
    checked = CliRunner().invoke(main, ["submission", str(folder), str(store.path), "--year", "2026"])
    assert "999" not in checked.output, "the check expects the recording"


def test_systems_of_the_evaluation_data_alone_are_compared_on_these(tmp_path: Path) -> None:
    """The official scores are those of `detect evaluate`; a recipe beside them is measured on the same clips."""
    store, out = store_of(tmp_path / "s"), tmp_path / "out"
    assert run(store, out).exit_code == 0
    folder = out / "dcase" / "task2" / LABEL
    common = [str(store.path), "--year", "2026"]
    systems = ["--scores", str(folder), "--recipe", f"recipe={out / 'recipe.toml'}", "-o", str(out / "c"), "--json"]
    compared = json.loads(CliRunner().invoke(main, ["compare", *common, *systems]).stdout)
    evaluated = json.loads(CliRunner().invoke(main, ["evaluate", str(folder), *common, "--json"]).stdout)
    values = {system["name"]: system["official_score"]["value"] for system in compared["systems"]}
    assert values == dict.fromkeys((LABEL, "recipe"), evaluated["official_score"]["value"])
    assert {section["machine"] for system in compared["systems"] for section in system["sections"]} == {"pump"}
    assert compared["clips"] == sum(machine == "pump" for machine in expected_clips(store).column("machine"))
    other = CliRunner().invoke(main, ["compare", *common, *systems, "--machine", "fan"])
    assert other.exit_code == 1
    assert "scores the evaluation data alone, and machine fan is not among them" in other.stderr


def test_a_folder_that_is_no_system_names_the_system_in_it(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s")
    assert run(store, tmp_path).exit_code == 0
    whole = CliRunner().invoke(main, ["evaluate", str(tmp_path / "dcase"), str(store.path), "--year", "2026"])
    assert whole.exit_code == 1
    assert f"no files of scores in this folder; give {tmp_path / 'dcase' / 'task2' / LABEL}" in whole.stderr
    empty = CliRunner().invoke(main, ["evaluate", str(store.path), str(store.path), "--year", "2026"])
    assert "with files such as anomaly_score_pump_section_00_test.csv" in empty.stderr


def test_a_zip_that_is_older_than_its_folders_is_noted(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s")
    assert run(store, tmp_path).exit_code == 0
    task, common = tmp_path / "dcase" / "task2", [str(store.path), "--year", "2026"]
    fresh = CliRunner().invoke(main, ["submission", str(tmp_path / "dcase"), *common])
    assert "holds other files" not in fresh.output
    meta = task / LABEL / f"{LABEL}.meta.yaml"
    meta.write_text(meta.read_text() + "# looked through\n")
    for folder in (tmp_path / "dcase", task, task / LABEL):
        edited = CliRunner().invoke(main, ["submission", str(folder), *common])
        assert "Miller_EU_task2.zip holds other files than task2; --zip packs again" in edited.stdout
    (tmp_path / "dcase" / "Miller_EU_task2.zip").write_bytes(b"cut")
    assert "holds other files" in CliRunner().invoke(main, ["submission", str(task), *common]).stdout
    zip_team(tmp_path / "dcase", "Miller_EU_task2")
    assert "holds other files" not in CliRunner().invoke(main, ["submission", str(task), *common]).stdout
