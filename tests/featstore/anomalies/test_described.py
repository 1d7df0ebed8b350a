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


@pytest.mark.parametrize(
    ("words", "chain"),
    [
        ("squeal at 3,5 kHz", "squeal:pitch_hz=3500"),
        ("squeal at 1,500 Hz", "squeal:pitch_hz=1500"),
        ("squeal at 1,500.5 Hz", "squeal:pitch_hz=1500.5"),
        ("squeal at 0,125 kHz", "squeal:pitch_hz=125"),
        ("squeal at 3 kilohertz", "squeal:pitch_hz=3000"),
        ("unbalance at 1,500 rpm", "modulation:frequency_hz=25"),
        ("unbalance, 1500 U/min", "modulation:frequency_hz=25"),
        ("unbalance 1500 r/min", "modulation:frequency_hz=25"),
        ("unbalance 1500 revolutions per minute", "modulation:frequency_hz=25"),
        ("unbalance 50 1/s", "modulation:frequency_hz=50"),
        ("unbalance at 50 s^-1", "modulation:frequency_hz=50"),
        ("25-Hz unbalance", "modulation:frequency_hz=25"),
        ("unbalance at 3e1 hertz", "modulation:frequency_hz=30"),
        ("knocking every 2 seconds", "impacts:per_second=0.5"),
        ("knocking every 500 ms", "impacts:per_second=2"),
        ("knocking every second", "impacts:per_second=1"),
        ("knocks once a second", "impacts:per_second=1"),
        ("knocks twice per second", "impacts:per_second=2"),
        ("300 knocks per second", "impacts:per_second=300"),
        ("knocking at 300 Hz", "impacts:resonance_hz=300"),
        ("leak at 100 Hz", "leak:centre_hz=100"),
        ("unbalance, 16.7 Hz (1000 rpm)", "modulation:frequency_hz=16.7"),
        ("bearing 2 is worn", "impacts+leak:level_db=-10"),
    ],
)
def test_numbers_and_units_as_people_write_them(words, chain):
    assert str(read_words(words)) == chain


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("unbalance, 25 Hz to 50 Hz", "before '50 hz' makes it a range or two numbers; state one frequency"),
        ("unbalance, 25-50 Hz", "before '50 hz' makes it a range"),
        ("unbalance, 25 \u2013 50 Hz", "before '50 hz' makes it a range"),
        ("unbalance between 25 and 50 Hz", "before '50 hz' makes it a range"),
        ("unbalance between 25 Hz and 50 Hz", "'25 hz' and '50 hz' are both frequency_hz of modulation"),
        ("unbalance, 1 500 rpm", "before '500 rpm' makes it a range or two numbers"),
        ("bearing wear at 30 Hz, knocking at 5 Hz", "'30 hz' and '5 hz' are both per_second of impacts"),
        ("squeal at 1.500,5 Hz", "'1.500,5' cannot be read; write it as 1500 or 3.5"),
        ("squeal at 120 kHz", r"'120 khz' \(120000 Hz\) fits no step: pitch_hz of squeal takes 30 to 20000"),
        ("unbalance at 0 Hz", "fits no step: frequency_hz of modulation takes 0.2 to 100"),
        ("unbalance at -25 Hz", "fits no step: frequency_hz of modulation takes 0.2 to 100"),
        ("knocking every 0 seconds", "fits no step: per_second of impacts takes 0.2 to 400"),
        ("leak at 1500 rpm", r"'1500 rpm' \(25 Hz\) fits no step: leak takes no such frequency"),
        ("stuck, clogged, loose, 25 Hz unbalance, bolts, hum at 3 kHz", "a step after the first 4 takes no such"),
        ("leak, 10 dB louder", "'10 db' cannot be used; .* level_db of -30 to 10"),
        ("10 dB louder", "'10 db' cannot be used"),
        ("bearing wear after 500 h", "'500 h' is no frequency that can be used"),
        ("2 knocks every 3 seconds", "'3 seconds' is no frequency that can be used"),
        ("squeal at 3000", "the number '3000' has no unit"),
        ("hum at fifty hertz", "the unit 'hertz' has no number before it"),
        ("leak " * 81, "405 characters, at most 400 are read"),
    ],
)
def test_a_number_that_cannot_be_used_is_refused(words, message):
    with pytest.raises(DataError, match=message):
        read_words(words)


@pytest.mark.parametrize(
    ("words", "chain"),
    [
        ("hardly audible leak", "leak:level_db=-6"),
        ("barely audible squeal", "squeal:level_db=-6"),
        ("strong leak, slight unbalance", "modulation:level_db=-6+leak:level_db=6"),
        ("severe unbalance with a slight leak", "modulation:level_db=6+leak:level_db=-6"),
        ("severe leak and unbalance", "modulation+leak:level_db=6"),
        ("leak and unbalance, severe", "modulation:level_db=6+leak:level_db=6"),
        ("bearing wear at 30 Hz, squeal at 3 kHz", "impacts:per_second=30+leak:level_db=-10+squeal:pitch_hz=3000"),
        ("not severe bearing wear", "impacts+leak:level_db=-10"),
        ("bearing is not ok", "impacts+leak:level_db=-10"),
        ("valve doesn't close", "stutter+leak:level_db=-6"),
        ("healthy bearing, severe leak", "leak:level_db=6"),
        ("nothing is loose, leak", "leak"),
        ("hum, no leak or rattling", "squeal:pitch_hz=100"),
        ("leak at normal load", "leak"),
        ("fine dust", "blockage+bursts:level_db=-6"),
    ],
)
def test_strengths_and_negations_belong_to_their_part(words, chain):
    assert str(read_words(words)) == chain


@pytest.mark.parametrize(
    "words",
    [
        "healthy bearing",
        "normal ball bearing",
        "bearing is fine",
        "bearing ok",
        "bearing without wear",
        "bearing runs without any visible wear",
        "no signs of wear in the bearing",
        "nothing is loose",
        "belt is not loose",
        "dust-free",
        "leakage current",
    ],
)
def test_what_is_healthy_is_no_fault(words):
    with pytest.raises(DataError, match="no known word"):
        read_words(words)


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("Impacts:per_second=12", "impacts:per_second=12"),
        ("Leak:level_db=-12", "leak:level_db=-12"),
        ("LEAK + Squeal: Pitch_Hz = 3000", "leak+squeal:pitch_hz=3000"),
        ("Warp", "warp"),
    ],
)
def test_a_chain_may_have_capitals_and_blanks(text, chain):
    assert str(read_fault(text)) == chain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("impact:per_second=3", r"unknown transform: 'impact'; did you mean impacts\?.*is read as a chain"),
        ("squeal,pitch_hz=3000", r"no colon after squeal; did you mean squeal:pitch_hz=3000\?"),
        ("squeal pitch_hz=3000", r"no colon after squeal; did you mean squeal:pitch_hz=3000\?"),
        ("leak + unbalance", "unknown transform: 'unbalance'.*is read as a chain"),
        ("leak:pitch_hz=3000", "unknown parameter of leak: 'pitch_hz'"),
    ],
)
def test_a_mistyped_chain_is_not_read_as_words(text, message):
    with pytest.raises(DataError, match=message):
        read_fault(text)


@pytest.mark.parametrize(("name", "pattern", "steps"), RULES)
def test_the_name_of_every_rule_is_understood_and_its_chain_can_be_read(name, pattern, steps):
    assert str(Chain.parse(steps)) == steps
    first = Chain.parse(steps).steps[0].name
    assert first in {step.name for step in read_words(name).steps}


@pytest.mark.parametrize("words", ["it sounds odd", "no leak", "nothing", "", "42"])
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
    assert notes_of(faults)[0] == "fan: 'slight unbalance' is generated as modulation:level_db=-6"
    with pytest.raises(DataError, match=r"machine 'fan'.*; the data have pump"):
        faults_of(path, ["pump"])
    many = [Described("", "leak", Chain.parse("leak"))] * 62
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


def test_all_bad_lines_of_a_file_are_named_at_once(tmp_path):
    rows = [("fan", "leak"), ("", "odd"), ("fan", ""), ("", "leek:centre_hz=1"), ("fan", "hum at 99 kHz")]
    with pytest.raises(DataError) as error:
        read_described(write_faults(tmp_path / "faults.csv", *rows))
    message = str(error.value)
    assert [f"line {line}: " in message for line in range(2, 7)] == [False, True, True, True, True]
    assert message.count("describe it as one of") == 1
    with pytest.raises(DataError, match=r"line 11: .*; and 15 more; describe it as one of") as error:
        read_described(write_faults(tmp_path / "many.csv", *[("", f"odd {i}") for i in range(25)]))
    assert "line 12" not in str(error.value)


def test_all_unknown_machines_of_a_file_are_named_at_once(tmp_path):
    path = write_faults(tmp_path / "faults.csv", ("fam", "leak"), ("pump", "hum"), ("valve", "squeal"))
    with pytest.raises(
        DataError, match=r"machine 'fam'; did you mean fan\?; 'squeal' is for machine 'valve'; the data"
    ):
        faults_of(path, ["fan", "pump"])


def test_fifty_faults_are_printed_then_their_number():
    many = [Described("", f"leak {i}", Chain.parse("leak")) for i in range(51)]
    assert len(notes_of(many[:50])) == 50
    assert notes_of(many)[49:] == ["every machine: 'leak 49' is generated as leak", "and 1 more described fault"]


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
    assert "'bearing wear at 30 Hz' is generated as impacts:per_second=30+leak:level_db=-10" in result.output
    clips = FeatureStore.open(tmp_path / "store").clips("logmel")
    variants = [Variant.parse(clip.variant) for clip in clips if clip.variant]
    assert {variant.name for variant in variants} == {"described"}
    assert {variant.donor for variant in variants} <= {"impacts:per_second=30+leak:level_db=-10", "modulation"}
    again = CliRunner().invoke(main, words)
    assert "(0 new, 0 changed, 12 kept)" in again.output
    assert CliRunner().invoke(main, [*base, "--described-faults", str(faults)]).exit_code == 2
    assert CliRunner().invoke(main, [*base, "--anomalies", "auto", "--fault-reader", str(tmp_path)]).exit_code == 2
