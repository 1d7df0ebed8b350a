"""The simulated plant as files: layout, names, determinism, resuming and refusals."""

import csv
import json
import re
import shutil
import wave
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import featstore.plant.simulate as module
from ensemble.groups import group_names
from featstore.errors import DataError, ResourceError
from featstore.layouts.recognise import find_clips
from featstore.plant.machines import MACHINES
from featstore.plant.pair import Pair
from featstore.plant.plan import RAW, SEVERITIES, Plant, plan
from featstore.plant.simulate import simulate
from featstore.table import ClipTable

NAME = re.compile(
    r"section_00_(source|target)_(train|test)_(normal|anomaly)_(\d{4})((?:_[a-z]+_[A-Z0-9]+)+)\.wav", re.ASCII
)
SMALL = Plant(clips=20, machines=("fan", "valve"), seconds=1.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plant") / "out"
    simulate(out, SMALL, workers=1)
    return out


def test_names_state_the_conditions_and_never_the_fault(small):
    names = {path.name: path for path in small.rglob("*.wav")}
    assert len(names) >= SMALL.clips / 2
    for clip in plan(SMALL):
        match = NAME.fullmatch(Path(clip.path).name)
        assert match is not None
        assert match.groups()[:4] == (clip.domain, clip.split, clip.label, f"{clip.number:04d}")
        assert tuple(re.findall(r"_([a-z]+)_([A-Z0-9]+)", match[5])) == clip.attributes
        assert not any(fault in clip.path for fault in MACHINES[clip.machine].faults)
        assert (small / clip.path).is_file()


def test_attributes_table_agrees_with_the_names(small):
    with (small / RAW / "valve" / "attributes_00.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file_name", "d1p", "d1v", "d2p", "d2v", "d3p", "d3v"]
    wanted = [clip for clip in plan(SMALL) if clip.machine == "valve"]
    assert [row[0] for row in rows] == [clip.path.removeprefix("dev_data/raw/") for clip in wanted]
    assert [tuple(zip(row[1::2], row[2::2], strict=True)) for row in rows] == [clip.attributes for clip in wanted]


def test_truth_has_the_severity_of_every_anomaly_and_is_outside_the_data(small):
    assert [path.parent for path in small.rglob("truth.csv")] == [small]
    with (small / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SMALL.clips
    for row in rows:
        faulty = row["label"] == "anomaly"
        assert (row["fault"] in MACHINES[row["machine"]].faults) == faulty
        assert (float(row["severity"]) in SEVERITIES) == faulty


def test_parameters_mark_the_data_as_simulated(small):
    parameters = json.loads((small / "simulation.json").read_text())
    assert parameters["simulated"] is True
    assert parameters["seed"] == 0


@pytest.mark.parametrize(("seconds", "rate_hz"), [(1.0, 8000), (1.37, 16000), (1.0, 44100)])
def test_length_and_rate(tmp_path, seconds, rate_hz):
    simulate(tmp_path, Plant(clips=8, machines=("bearing",), seconds=seconds, sample_rate_hz=rate_hz), workers=1)
    for path in tmp_path.rglob("*.wav"):
        with wave.open(str(path)) as file:
            got = (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes())
        assert got == (1, 2, rate_hz, round(seconds * rate_hz))


def test_worker_count_and_other_clips_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CLIPS_PER_WORKER", 1)
    monkeypatch.setattr(module, "CHUNK", 7)
    simulate(tmp_path, Plant(clips=90, seconds=1.0, machines=("valve", "gearbox", "fan")), workers=2)
    expected = contents(small / RAW)
    got = contents(tmp_path / RAW)
    recordings = [name for name in expected if name.endswith(".wav")]
    assert len(recordings) == SMALL.clips
    assert all(got[name] == expected[name] for name in recordings)


def test_another_seed_is_another_plant(small, tmp_path):
    simulate(tmp_path, Plant(clips=20, machines=("fan", "valve"), seconds=1.0, seed=1), workers=1)
    assert not set(contents(small / RAW).values()) & set(contents(tmp_path / RAW).values())


def test_resuming_renders_missing_clips_only(small, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(small, out)
    gone, cut, *_ = sorted(out.rglob("*.wav"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    (out / "truth.csv").unlink()
    calls: list[tuple[int, int]] = []
    result = simulate(out, SMALL, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert (result.clips, result.rendered) == (20, 2)
    assert calls == [(20, 20)]
    assert contents(out) == contents(small)


def test_foreign_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty and has no simulation\.json"):
        simulate(tmp_path, SMALL)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    ("mark", "message"), [('{"seed": 9}', "seed"), ("[]", "other parameters"), ("{", "not readable")]
)
def test_folder_of_another_simulation_is_refused(tmp_path, mark, message):
    (tmp_path / "simulation.json").write_text(mark)
    with pytest.raises(DataError, match=message):
        simulate(tmp_path, SMALL)
    assert contents(tmp_path) == {"simulation.json": mark.encode()}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        simulate(tmp_path / "file", SMALL)
    with pytest.raises(DataError, match="cannot be created"):
        simulate(tmp_path / "file" / "below", SMALL)


def test_free_space_is_checked_before_the_first_recording(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ResourceError, match=f"need {20 * SMALL.file_bytes:,} bytes, 1,000 are free"):
        simulate(tmp_path, SMALL)
    assert not list(tmp_path.rglob("*.wav"))


def test_two_microphones_and_days_are_recorded(tmp_path):
    plant = replace(SMALL, pair=Pair(leak_db=-6.0, noise_sources=1), days=3)
    simulate(tmp_path, plant, workers=1)
    parameters = json.loads((tmp_path / "simulation.json").read_text())
    assert parameters["pair"] == {"leak_db": -6.0, "noise_sources": 1, "diffuse": 0.0, "moving": False}
    assert parameters["days"] == 3
    with (tmp_path / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["leak_db"] for row in rows} == {"-6"}
    assert len({(row["machine"], row["reverberation_s"]) for row in rows}) == len(SMALL.machines)
    assert all(0.2 <= float(row["reverberation_s"]) <= 0.6 for row in rows)
    by_day = {(row["machine"], row["day"]): row["background_db"] for row in rows}
    assert all(row["background_db"] == by_day[row["machine"], row["day"]] for row in rows)
    assert len(set(by_day.values())) == len(by_day)
    for path in tmp_path.rglob("*.wav"):
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getnframes()) == (2, plant.samples)
    assert simulate(tmp_path, plant, workers=1).rendered == 0


def test_one_microphone_is_recorded_as_before(small):
    assert not {"pair", "days"} & set(json.loads((small / "simulation.json").read_text()))
    header = (small / "truth.csv").read_text().splitlines()[0]
    assert header == "file_name,machine,split,domain,label,number,fault,severity"


def test_the_day_is_a_group_of_clips(tmp_path):
    simulate(tmp_path, replace(SMALL, days=3), workers=1)
    clips = ClipTable.from_clips(find_clips(tmp_path, "auto").clips)
    assert set(group_names("day", clips)) == {"1", "2", "3"}
