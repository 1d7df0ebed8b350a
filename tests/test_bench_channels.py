"""The benchmark of channels on a small simulated plant, and how it prints."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
from places import ROOT
from script import load_script

from detectors.metrics.intervals import Interval
from ensemble.recipe import Member, Recipe
from featstore.plant.pair import Pair
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate

sys.path.insert(0, str(ROOT / "scripts"))
script = load_script("bench_channels")


def test_a_table_of_channels(tmp_path, capsys, monkeypatch):
    plant = tmp_path / "plant"
    simulate(plant, Plant(clips=60, machines=("fan",), seconds=2.0, pair=Pair(noise_sources=1)), workers=1)
    words = ["bench_channels.py", str(plant), "--work", str(tmp_path / "work"), "--channel", "0-1", "--channel", "1"]
    monkeypatch.setattr(sys, "argv", words)
    script.main()
    header, _, *rows = (row.strip("|").split(" | ") for row in capsys.readouterr().out.splitlines() if row[:1] == "|")
    assert [name.strip() for name in header] == ["data", "system", "0", "0-1", "1"]
    assert {path.name for path in (tmp_path / "work" / "plant" / "stores").iterdir()} == {"0", "0-1", "1"}
    *rows, removed = rows
    assert [row[1] for row in rows] == list(script.SYSTEMS)
    assert removed[1] == "dB removed"
    assert [bool(cell.strip()) for cell in removed[2:]] == [False, True, False]
    assert 0 < float(removed[3]) < 20
    for row in rows:
        near = float(row[2].split()[0])
        assert 20 < near <= 100
        for cell in row[3:]:
            score, lead = float(cell.split()[0]), float(cell.split("(")[1].split()[0])
            assert lead == pytest.approx(score - near, abs=0.11)


def test_cases_and_their_errors():
    rendering = script.rendering_of("snr_db=-15,leak_db=-6,noise_sources=2,moving=1,seed=5", 2)
    assert (rendering.snr_db, rendering.seed) == (-15.0, 7)
    assert rendering.pair == Pair(-6.0, 2, 0.0, moving=True)
    assert script.rendering_of("snr_db=-5", 0).pair == Pair(noise_sources=1)
    with pytest.raises(SystemExit, match="leak; expected snr_db, seed, leak_db"):
        script.rendering_of("leak=-6", 0)


def test_intervals_of_one_draw_and_ranges_of_several():
    one, other = Interval(0.8, 0.7, 0.9), Interval(0.9, 0.5, 1.0)
    assert script.text([one]) == "80.0 [70, 90]"
    assert script.text([one, other]) == "85.0 [80, 90]"
    assert script.cell([script.Result(one, None)]) == "80.0 [70, 90]"
    assert script.cell([script.Result(one, Interval(-0.02, -0.1, 0.06))]) == "80.0 (-2.0 [-10, +6]) **hurts**"
    assert script.cell([script.Result(one, Interval(-0.005, -0.1, 0.06))]) == "80.0 (-0.5 [-10, +6])"


def test_weights_of_the_channels_of_an_ensemble():
    members = (Member("logmel", "knn", "0/mean", weight=1.0), Member("logmel", "gmm", "0-1/p10", weight=3.0))
    assert script.channel_weights(Recipe(members)) == {"0": 0.25, "0-1": 0.75}
    assert script.channel_weights(Recipe((Member("logmel", "knn"),))) == {"all joined": 1.0}


@pytest.mark.skipif(not find_spec("featstore.audio.near_far.mixes"), reason="needs channels side by side")
def test_what_a_selection_chooses(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "SELECTED", "logmel:stats=mean,n_mels=16")
    plant = tmp_path / "plant"
    simulate(plant, Plant(clips=60, machines=("fan",), seconds=2.0, pair=Pair(noise_sources=1)), workers=1)
    near, chosen = script.selections(script.Choice("0,0-1", "1"), [(plant, tmp_path / "work")])
    score, lead = float(chosen.split()[0]), float(chosen.split("(")[1].split()[0])
    assert lead == pytest.approx(score - float(near.split()[0]), abs=0.11)
    assert chosen.endswith(" %")


def test_what_is_removed_is_the_power_of_a_common_sound(tmp_path, rng):
    folder = tmp_path / "fan" / "train" / "normal"
    folder.mkdir(parents=True)
    (tmp_path / "fan" / "test" / "normal").mkdir(parents=True)
    for i in range(3):
        noise, own = rng.normal(size=(2, 32_000))
        wave = np.stack([0.1 * (noise + 0.1 * own), 0.05 * noise], axis=1)  # 20 dB more noise than anything else
        soundfile.write(folder / f"{i}.wav", wave, 16_000)
        soundfile.write(folder.parents[1] / "test" / "normal" / f"{i}.wav", 0.1 * own, 16_000)
    assert script.removed_db(tmp_path, "0-1") == pytest.approx(20, abs=0.5)
    assert script.removed_db(tmp_path, "0") is None
