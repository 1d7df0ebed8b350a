"""Regions of reported clips: recordings are found, unchanged and inside the folder, or a note says what to do."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from noise_plant import RATE, noise, with_tone

from ensemble.cli import main as detect_main
from ensemble.defaults import single_recipe
from ensemble.deviation.locate import Locator
from ensemble.deviation.of_detection import places, read_wave
from ensemble.page.kept import read_results
from ensemble.run import Detection, detect
from featstore.cli import main as featstore_main
from featstore.clip import Window
from featstore.store import FeatureStore

RUN = ["-d", "mahalanobis:covariance=ledoit_wolf,standardize=true", "-e", "logmel@mean"]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Recordings of one section, the odd test clips with a burst at 1 kHz, and their store."""
    root = tmp_path_factory.mktemp("plant")
    data, store, rng = root / "data", root / "store", np.random.default_rng(4)
    for split, label, n in (("train", "normal", 30), ("test", "normal", 4), ("test", "anomaly", 4)):
        for i, wave in enumerate(noise(rng, n)):
            path = data / "fan" / split / f"section_00_source_{split}_{label}_{i:04d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, with_tone(wave, 1.0, 2.0, 1000, 0.05) if label == "anomaly" else wave, RATE)
    command = ["build", str(data), str(store), "-e", "logmel:n_mels=40", "--as", "logmel", "--workers", "0"]
    done = CliRunner().invoke(featstore_main, command)
    assert done.exit_code == 0, done.output
    return data, store


@pytest.fixture
def detection(plant: tuple[Path, Path]) -> tuple[FeatureStore, Detection]:
    store = FeatureStore.open(plant[1])
    return store, detect(store, single_recipe(store, RUN[1], RUN[3]), workers=1)


def test_reported_clips_have_regions(plant: tuple[Path, Path], detection: tuple[FeatureStore, Detection]) -> None:
    for data in (None, plant[0]):
        where = places(*detection, data)
        reported = np.flatnonzero(detection[1].decision)
        assert set(where.regions) == set(reported.tolist())
        assert where.notes == ()
        faults = [row for row in reported if "anomaly" in detection[1].clips[int(row)].path]
        assert len(faults) == 4
        for row in faults:
            region = where.regions[row][0]
            assert region.low_hz <= 1000 <= region.high_hz
            assert region.start_s == pytest.approx(1, abs=0.3)


def test_a_changed_recording_is_read_only_where_its_folder_is_named(
    plant: tuple[Path, Path], detection: tuple[FeatureStore, Detection]
) -> None:
    row = int(np.flatnonzero(detection[1].decision)[0])
    file = plant[0] / detection[1].clips[row].path
    info, content = file.stat(), file.read_bytes()
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns + 10**9))
    assert row in places(*detection, None).regions, "only the time has changed"
    file.write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))
    try:
        where = places(*detection, None)
        assert row not in where.regions
        assert "--data DATA names their folder" in where.notes[0]
        assert row in places(*detection, plant[0]).regions
    finally:
        file.write_bytes(content)
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


def test_without_recordings_a_note_names_the_option(detection: tuple[FeatureStore, Detection], tmp_path: Path) -> None:
    where = places(*detection, tmp_path)
    assert where.regions == {}
    assert "--data DATA" in where.notes[0]


def test_a_window_reads_its_part(plant: tuple[Path, Path]) -> None:
    store = FeatureStore.open(plant[1])
    locator = Locator.of(store, store.clips("logmel")[store.clips("logmel").where(split="train")])
    file = next((plant[0] / "fan" / "test").glob("*anomaly*"))
    whole, part = read_wave(file, locator), read_wave(file, locator, Window(1.5, 3.0))
    np.testing.assert_array_equal(part, whole[24_000:48_000])


def test_scores_csv_and_json_hold_the_sentence(plant: tuple[Path, Path], tmp_path: Path) -> None:
    command = ["run", str(plant[1]), *RUN, "-o", str(tmp_path), "--json", "--workers", "1"]
    done = CliRunner().invoke(detect_main, command)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    reported = [row for row in rows if row["decision"] == "1"]
    faults = [row for row in reported if "anomaly" in row["clip"]]
    assert faults
    assert all("normal" in row["where"] for row in faults)
    assert all(not row["where"] for row in rows if row["decision"] == "0")
    where = json.loads(done.stdout)["where"]
    assert set(where) == {row["clip"] for row in reported}
    assert {"start_s", "end_s", "low_hz", "high_hz", "excess_db", "z"} == set(where[reported[0]["clip"]][0])
    kept = read_results(tmp_path / "page.safetensors")
    assert {kept.keys[row]: text for row, text in kept.where.items()} == {row["clip"]: row["where"] for row in reported}


def test_the_report_shows_the_deviation_map(plant: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    command = ["report", str(plant[1]), *RUN, "-o", str(page), "--data", str(plant[0]), "--workers", "1"]
    done = CliRunner().invoke(detect_main, command)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert text.count("<figcaption>Deviation from normal: ") >= 4
    assert "dB above normal" in text
