"""The rendering of flights through rooms: names, levels, what stays in a section, and what cannot be explained."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from places import SHARED_DATA
from script import load_script

from featstore.audio.near_far.subtract import Subtraction, near_minus_far
from featstore.plant.pair import Pair
from featstore.plant.rooms import REVERBERATION_S

script = load_script("render_two_microphones")
RATE_HZ = script.RATE_HZ
HOW = script.Rendering(-10.0, Pair(leak_db=-10.0, noise_sources=1), REVERBERATION_S, 0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ten short flights (tones) of two sections, and noises of every kind."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("recordings")
    flights, noise = folder / "flights", folder / "noise"
    flights.mkdir()
    noise.mkdir()
    rows = [["file", "section", "split", "label"]]
    for section in ("00", "01"):
        for split, label, count in (("train", "normal", 4), ("test", "normal", 2), ("test", "anomaly", 2)):
            for i in range(count):
                name = f"{section}_{split}_{label}_{i}.flac"
                tone = 0.1 * np.sin(2 * np.pi * rng.uniform(300, 900) * np.arange(2 * RATE_HZ) / RATE_HZ)
                soundfile.write(flights / name, tone, RATE_HZ)
                rows.append([name, section, split, label])
    with (flights / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    for kind in (kind for kinds in script.DOMAIN_NOISES.values() for kind in kinds):
        soundfile.write(noise / f"{kind}_0.ogg", 0.1 * rng.normal(size=2 * 44_100), 44_100)
    return flights, noise


def clip(folders: tuple[Path, Path], how: object, number: int = 0, *, machine: bool = True) -> np.ndarray:
    """Both channels of one clip; without the machine, its recording is silent."""
    flights, noise = folders
    noises = script.load_noises(noise)
    flight = list(script.flights(flights, noises, 0))[number]
    wave, _ = soundfile.read(flights / flight.file)
    return script.rendered(wave if machine else 0 * wave, flight, noises, how).T


def level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave))))


def removed_db(both: np.ndarray) -> float:
    return level_db(both[0]) - level_db(near_minus_far(*both, Subtraction(window=4096))[0])


def test_every_flight_is_rendered_with_domains_as_with_one_microphone(folders, tmp_path):
    assert script.render(*folders, tmp_path, HOW) == 16
    files = sorted(tmp_path.rglob("*.wav"))
    assert len(files) == 16
    names = [path.name for path in files]
    train = [name for name in names if "_train_" in name and "section_00" in name]
    assert sum("_target_" in name for name in train) == script.TARGET_TRAIN_CLIPS == 3
    for name in names:
        kinds = script.DOMAIN_NOISES["target" if "_target_" in name else "source"]
        assert name.removesuffix(".wav").rpartition("_bg_")[2] in kinds
    info = soundfile.info(files[0])
    assert (info.channels, info.samplerate, info.frames) == (2, RATE_HZ, 2 * RATE_HZ)


def test_a_rendering_is_the_same_each_time_and_another_with_another_seed(folders):
    first = clip(folders, HOW)
    np.testing.assert_array_equal(first, clip(folders, HOW))
    assert np.abs(first - clip(folders, replace(HOW, seed=1))).max() > 0.01


def test_the_ratio_of_machine_to_noise_is_that_of_the_near_microphone(folders):
    quiet = clip(folders, replace(HOW, snr_db=80.0))
    for snr_db in (-10.0, 0.0):
        both = clip(folders, replace(HOW, snr_db=snr_db))
        np.testing.assert_allclose(level_db(both[0]), 20 * np.log10(script.RMS), atol=0.1)
        tone = quiet[0] / np.sqrt(np.mean(np.square(quiet[0])))
        machine_db = 20 * np.log10(np.mean(tone * both[0]))  # the noise does not resemble the tone
        expected_db = level_db(both[0]) + snr_db - 10 * np.log10(1 + 10 ** (snr_db / 10))
        assert abs(machine_db - expected_db) < 1


def test_the_machine_leaks_into_the_far_microphone(folders):
    # The level is that of the responses' energies; a single tone can be some decibels off.
    levels = [level_db(clip(folders, replace(HOW, snr_db=80.0, pair=Pair(leak_db=leak)))[1]) for leak in (-20.0, -5.0)]
    np.testing.assert_allclose(levels[1] - levels[0], 15, atol=0.5)


def test_what_is_explained_falls_with_sources_diffuse_noise_and_movement(folders):
    one = removed_db(clip(folders, HOW, machine=False))
    for worse in (Pair(noise_sources=4), Pair(noise_sources=1, diffuse=0.5), Pair(noise_sources=1, moving=True)):
        assert removed_db(clip(folders, replace(HOW, pair=worse), machine=False)) < one - 2


def test_machine_and_microphones_stay_where_they_are_in_a_section():
    assert script.room_and_stand("00", HOW) == script.room_and_stand("00", HOW)
    assert script.room_and_stand("00", HOW) != script.room_and_stand("01", HOW)


def test_the_draws_are_those_of_the_rendering_with_one_microphone():
    """Same domains and noises as the benchmark with one microphone, whose names they are."""
    if not (SHARED_DATA / "uav_propeller" / "manifest.csv").is_file():
        pytest.skip(f"needs the recordings in {SHARED_DATA}")
    flights = list(script.flights(SHARED_DATA / "uav_propeller", script.load_noises(SHARED_DATA / "noise"), 0))
    assert len(flights) == 265
    assert sum(flight.split == "train" and flight.domain == "target" for flight in flights) == 12
    assert sum(flight.split == "train" for flight in flights) == 130
