"""Confirmed faults that a network learnt, as donors: found by machine, tied to one network, rendered in a build."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import HissTranslator, write_clip

from featstore import registry
from featstore.anomalies.severity import blend, change_db
from featstore.anomalies.translated import apply, donors_by_machine, located
from featstore.anomalies.variants import MIN_PER_PAIR, Variant
from featstore.cli import main
from featstore.errors import DataError, RejectedAudio
from featstore.store import FeatureStore


@pytest.fixture(autouse=True)
def translator(monkeypatch):
    monkeypatch.setattr(registry, "FAULT_TRANSLATOR", HissTranslator)


def test_donors_are_the_faults_of_each_machine_of_the_data(tmp_path):
    donors = donors_by_machine(tmp_path / "a.safetensors", tmp_path, ["fan", "valve"])
    assert donors == {"fan": ["a.safetensors|000000000000|fan|hiss", "a.safetensors|000000000000|fan|knock"]}
    other = donors_by_machine(tmp_path / "a.safetensors", tmp_path / "data", ["pump"])
    assert other == {"pump": [f"{tmp_path}/a.safetensors|000000000000|pump|hiss"]}
    with pytest.raises(DataError, match="has faults of fan, pump; the data have valve"):
        donors_by_machine(tmp_path / "a.safetensors", tmp_path, ["valve"])


def test_the_clip_moves_towards_its_translation():
    wave = np.random.default_rng(5).normal(size=16000).astype(np.float32)
    out = apply(wave, 16000, -7.0, np.random.default_rng(0), "a|00|fan|knock")
    np.testing.assert_array_equal(out, blend(wave, HissTranslator(Path())(wave, 16000, "fan", "knock"), -7.0))
    assert change_db(wave, out, 16000) == pytest.approx(-7, abs=1e-3)


def test_a_path_below_the_data_is_found_from_there():
    assert located("x|y/a.safetensors|12|fan|hiss", Path("/data")) == "/data/x|y/a.safetensors|12|fan|hiss"
    assert located("/b/a.safetensors|12|fan|hiss", Path("/data")) == "/b/a.safetensors|12|fan|hiss"


@pytest.mark.parametrize(
    ("donor", "message"),
    [
        ("a|ab|fan|hiss", "another network than the ab"),
        ("a||fan|hiss", "names no network"),
        ("a.safetensors", "not enough values"),
    ],
)
def test_another_network_is_refused(donor, message):
    with pytest.raises(RejectedAudio, match=message):
        apply(np.ones(100, np.float32), 16000, 0, np.random.default_rng(0), donor)


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError, DataError])
def test_a_translator_that_fails_rejects_the_clip(monkeypatch, error):
    def fails(path):
        raise error("no translation")

    monkeypatch.setattr(registry, "fault_translator", fails)
    with pytest.raises(RejectedAudio, match=r"donor a\|00\|fan\|knock: no translation"):
        apply(np.ones(100, np.float32), 16000, 0, np.random.default_rng(0), "a|00|fan|knock")


def test_a_build_makes_them(tmp_path):
    for i in range(4):
        write_clip(tmp_path / "data", f"fan/train/normal_{i}.wav", i, samples=16000)
    checkpoint = tmp_path / "a.safetensors"
    checkpoint.touch()
    base = ["build", str(tmp_path / "data"), str(tmp_path / "store"), "-e", "logmel", "--workers", "0"]
    options = ["--anomalies", "1:translated@-5", "--translated-faults", str(checkpoint)]
    result = CliRunner().invoke(main, [*base, *options])
    assert result.exit_code == 0, result.output
    clips = FeatureStore.open(tmp_path / "store").clips("logmel")
    variants = [Variant.parse(clip.variant) for clip in clips if clip.variant]
    assert len(variants) >= MIN_PER_PAIR
    assert {variant.donor.rpartition("|")[2] for variant in variants} == {"hiss", "knock"}
    repeated = CliRunner().invoke(main, [*base, *options])
    assert "0 new" in repeated.output or "nothing" in repeated.output, repeated.output
    refused = CliRunner().invoke(main, [*base, "--translated-faults", str(checkpoint)])
    assert refused.exit_code == 2
    assert "--translated-faults needs --anomalies" in refused.output
