"""Faults described in words: rules, chains of transforms, files, and a language model as the reader."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import write_clip

from featstore.anomalies.chain import STEPS, Chain
from featstore.anomalies.chain import apply as chain_donor
from featstore.anomalies.described import Described, chains_by_machine, faults_of, notes_of, read_described, read_fault
from featstore.anomalies.fault_words import RULES, read_words
from featstore.anomalies.severity import change_db
from featstore.anomalies.variants import Variant
from featstore.cli import main
from featstore.errors import DataError, RejectedAudio
from featstore.store import FeatureStore

RATE = 16000


def hum(seconds=2.0):
    t = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).normal(size=len(t))
    return (0.1 * np.sin(2 * np.pi * 120 * t) + 0.05 * noise).astype(np.float32)


@pytest.mark.parametrize(
    ("words", "chain"),
    [
        ("bearing wear", "impacts+leak:level_db=-10"),
        ("slight bearing wear at 30 Hz", "impacts:per_second=30,level_db=-6+leak:level_db=-16"),
        ("SEVERE  unbalance, 1500 rpm", "modulation:frequency_hz=25,level_db=6"),
        ("loose belt, squealing", "speed:up=0+squeal"),
        ("air leak around 4 kHz, no rattling", "leak:centre_hz=4000"),
        ("motor without a squeal but knocking 3 times per second", "impacts:per_second=3"),
        ("electrical hum", "squeal:pitch_hz=100"),
        ("hum at 50 Hz", "squeal:pitch_hz=50"),
        ("valve is stuck", "stutter+dropouts:level_db=-3"),
    ],
)
def test_words_become_a_chain(words, chain):
    assert str(read_words(words)) == chain


@pytest.mark.parametrize(("name", "pattern", "steps"), RULES)
def test_the_name_of_every_rule_is_understood_and_its_chain_can_be_read(name, pattern, steps):
    assert str(Chain.parse(steps)) == steps
    first = Chain.parse(steps).steps[0].name
    assert first in {step.name for step in read_words(name).steps}


@pytest.mark.parametrize("words", ["it sounds odd", "no leak", "", "42"])
def test_unknown_words_list_what_is_known(words):
    with pytest.raises(DataError, match="describe it as one of bearing wear, lack of grease"):
        read_words(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("explode", "unknown transform: 'explode'"),
        ("leek", "did you mean leak"),
        ("leak:centre=3", "unknown parameter of leak: 'centre'"),
        ("leak:centre_hz=3", "expected centre_hz of 50 to 20000"),
        ("leak:centre_hz=nan", "expected centre_hz of 50 to 20000"),
        ("leak:centre_hz", "expected centre_hz of 50 to 20000"),
        ("leak:level_db=-99", "expected level_db of -30 to 10"),
        ("leak:octaves=1,octaves=2", "octaves is given twice"),
        ("leak+squeal+impacts+bursts+distortion", "5 steps; at most 4"),
        ("leak+" * 200, "at most 400 are read"),
        ("mix", "unknown transform: 'mix'"),
        ("__import__('os')", "unknown transform"),
    ],
)
def test_a_chain_that_cannot_be_read_says_why(text, message):
    with pytest.raises(DataError, match=message.replace("(", r"\(").replace(")", r"\)")):
        Chain.parse(text)
    with pytest.raises(RejectedAudio, match="donor: fault"):
        chain_donor(np.ones(100, np.float32), 16000, 0, np.random.default_rng(0), text)


def test_steps_that_alter_come_before_steps_that_add():
    assert str(Chain.parse("leak+speed")) == "speed+leak"


def test_the_energies_of_added_steps_add_up_to_the_severity():
    wave = hum()
    for text in ("impacts", "impacts+leak", "impacts+leak:level_db=-6+squeal:level_db=-10"):
        out = Chain.parse(text).apply(wave, RATE, -5, np.random.default_rng(3))
        assert change_db(wave, out, RATE) == pytest.approx(-5, abs=0.6)
    louder = Chain.parse("leak:level_db=6").apply(wave, RATE, -5, np.random.default_rng(3))
    assert change_db(wave, louder, RATE) == pytest.approx(1, abs=0.2)


def test_a_given_parameter_is_what_is_heard():
    wave = np.full(2 * RATE, 1e-3, np.float32) * np.random.default_rng(0).normal(size=2 * RATE).astype(np.float32)
    out = Chain.parse("squeal:pitch_hz=3000").apply(wave, RATE, 20, np.random.default_rng(1)) - wave
    peak_hz = np.abs(np.fft.rfft(out)).argmax() * RATE / len(out)
    assert 2900 < peak_hz < 3100
    band = np.abs(
        np.fft.rfft(Chain.parse("leak:centre_hz=1000,octaves=1").apply(wave, RATE, 20, np.random.default_rng(1)) - wave)
    )
    hz = np.arange(len(band)) * RATE / len(wave)
    assert np.square(band[(hz > 700) & (hz < 1420)]).sum() > 0.99 * np.square(band).sum()


def test_frequencies_that_a_recording_cannot_hold_are_lowered():
    out = Chain.parse("squeal:pitch_hz=20000").apply(hum(), RATE, 0, np.random.default_rng(1))
    assert np.isfinite(out).all()


@pytest.mark.parametrize("name", STEPS)
def test_every_transform_takes_its_parameters(name):
    texts = [name, *(f"{name}:{key}={value:g}" for key, limits in STEPS[name].parameters.items() for value in limits)]
    for text in texts:
        out = Chain.parse(text).apply(hum(0.5), RATE, -6, np.random.default_rng(2))
        assert out.shape == (RATE // 2,)
        assert np.isfinite(out).all()


def write_faults(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("machine", "fault"), *rows])
    return path


def test_a_file_of_faults(tmp_path):
    path = write_faults(
        tmp_path / "faults.csv", ("fan", "slight unbalance"), ("", "leak:octaves=1"), ("fan", "Slight  unbalance")
    )
    faults = faults_of(path, ["fan", "pump"])
    assert [(fault.machine, str(fault.chain)) for fault in faults] == [
        ("fan", "modulation:level_db=-6"),
        ("", "leak:octaves=1"),
    ]
    assert chains_by_machine(faults) == {"fan": ["modulation:level_db=-6"], "": ["leak:octaves=1"]}
    assert notes_of(faults)[0] == "fan: 'slight unbalance' is made as modulation:level_db=-6"
    with pytest.raises(DataError, match="machine 'fan', but the data have pump"):
        faults_of(path, ["pump"])
    many = [Described("", "leak", Chain.parse("leak"))] * 20
    assert notes_of(many)[-1] == "and 12 more described faults"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fault,machine\nleak,fan\n", "expected machine,fault"),
        ("machine,fault\n", "0 faults"),
        ("machine,fault\nfan,\n", "line 2: no fault"),
        ("machine,fault\nfan,leak\nfan,something odd\n", "line 3: fault 'something odd': no known word"),
        ("machine,fault\nfan,leak:centre_hz=1\n", "line 2: fault 'leak:centre_hz=1'"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_read_names_the_line(tmp_path, content, message):
    (tmp_path / "faults.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_described(tmp_path / "faults.csv")


def test_words_with_a_comma_are_words():
    assert str(read_fault("leak, severe")) == "leak:level_db=6"
    assert str(read_fault("leak:level_db=-3")) == "leak:level_db=-3"


def test_the_command_makes_described_faults(tmp_path):
    for i in range(4):
        write_clip(tmp_path / "data", f"fan/train/normal/{i}.wav", i, RATE)
    faults = write_faults(tmp_path / "faults.csv", ("fan", "bearing wear at 30 Hz"), ("", "unbalance"))
    base = ["build", str(tmp_path / "data"), str(tmp_path / "store"), "-e", "logmel", "--workers", "0"]
    words = [*base, "--anomalies", "1:described@0", "--described-faults", str(faults)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "'bearing wear at 30 Hz' is made as impacts:per_second=30+leak:level_db=-10" in result.output
    clips = FeatureStore.open(tmp_path / "store").clips("logmel")
    variants = [Variant.parse(clip.variant) for clip in clips if clip.variant]
    assert {variant.name for variant in variants} == {"described"}
    assert {variant.donor for variant in variants} <= {"impacts:per_second=30+leak:level_db=-10", "modulation"}
    again = CliRunner().invoke(main, words)
    assert "(0 new, 0 changed, 12 kept)" in again.output
    assert CliRunner().invoke(main, [*base, "--described-faults", str(faults)]).exit_code == 2
    assert CliRunner().invoke(main, [*base, "--anomalies", "auto", "--fault-reader", str(tmp_path)]).exit_code == 2
