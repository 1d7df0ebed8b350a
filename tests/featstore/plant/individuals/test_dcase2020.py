"""Plants with several machines of one kind as files: the layout, what they state, resuming and refusals."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import featstore.plant.simulate as module
from featstore.errors import DataError
from featstore.layouts.recognise import find_clips
from featstore.plant.individuals.build import TOLERANCES
from featstore.plant.individuals.dcase2020 import DCASE2020
from featstore.plant.individuals.fleet import Fleet, plan
from featstore.plant.individuals.styles import fleet_of, plant_of
from featstore.plant.pair import Pair
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate

SMALL = Fleet(clips=40, machines=("fan", "valve"), seconds=1.0, sample_rate_hz=8000, ids=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fleet") / "out"
    simulate(out, SMALL, DCASE2020, workers=1)
    return out


def test_the_layout_is_that_of_2020(small):
    listing = find_clips(small)
    assert listing.layout == "dcase2020"
    assert not listing.notes
    got = {(clip.path, clip.machine, clip.section, clip.split, clip.label, clip.domain) for clip in listing.clips}
    assert got == {
        (clip.path, clip.machine, f"id_{clip.id:02d}", clip.split, clip.label, "unknown") for clip in plan(SMALL)
    }
    assert all(clip.attributes == {} for clip in listing.clips)


def test_truth_and_individuals_are_outside_the_data(small):
    assert {path.parent for path in small.rglob("*.csv")} == {small}
    truth = rows_of(small / "truth.csv")
    assert [row["file_name"] for row in truth] == [clip.path for clip in plan(SMALL)]
    assert all(bool(row["fault"]) == (row["label"] == "anomaly") for row in truth)
    assert truth[0]["condition"].startswith("spd=")
    builds = rows_of(small / "individuals.csv")
    assert [(row["machine"], row["id"]) for row in builds] == [
        (machine, name) for machine in ("fan", "valve") for name in ("id_00", "id_01")
    ]
    assert len({tuple(row[name] for name in TOLERANCES) for row in builds}) == 4
    assert builds[0]["mounting"]
    assert builds[0]["housing"] == "", "no quantity of fans"
    parameters = json.loads((small / "simulation.json").read_text())
    assert (parameters["simulated"], parameters["style"], parameters["ids"]) == (True, "dcase2020", 2)


def test_worker_count_and_other_individuals_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CLIPS_PER_WORKER", 1)
    more = Fleet(clips=66, machines=("valve", "fan"), seconds=1.0, sample_rate_hz=8000, ids=3)
    simulate(tmp_path, more, DCASE2020, workers=2)
    expected, got = contents(small / "dev_data"), contents(tmp_path / "dev_data")
    assert len(expected) == 40
    assert {name: got[name] for name in expected} == expected


def test_resuming_renders_missing_clips_only(small, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(small, out)
    gone, cut, *_ = sorted(out.rglob("*.wav"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    (out / "truth.csv").unlink()
    assert simulate(out, SMALL, DCASE2020, workers=1).rendered == 2
    assert contents(out) == contents(small)


def test_a_plant_of_the_other_style_is_refused(small):
    with pytest.raises(DataError, match="other parameters"):
        simulate(small, Plant(clips=40, machines=("fan", "valve"), seconds=1.0, sample_rate_hz=8000))


def test_parameters_from_options():
    given = {"clips": 64, "machines": ("fan",), "seed": 3, "ids": 2, "days": None, "moving": None}
    assert fleet_of(given) == Fleet(clips=64, machines=("fan",), seed=3, ids=2)
    assert plant_of({"clips": None, "seed": 3, "ids": None, "microphones": 2}) == Plant(seed=3, pair=Pair())
    with pytest.raises(DataError, match="--leak-db: only for --style dcase2023"):
        fleet_of({"leak_db": -6.0})
    with pytest.raises(DataError, match="--ids: only for --style dcase2020"):
        plant_of({"ids": 2})
