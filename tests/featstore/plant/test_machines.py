"""The simulated machines: each spectrum has the lines that physics predicts, and loudness does not reveal a fault."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import signal, stats

from featstore.plant.acoustics import Scene
from featstore.plant.grid import Grid
from featstore.plant.machines import FAN_BLADES, GEAR_TEETH, INNER_RACE, MACHINES, OUTER_RACE
from featstore.plant.place import Place
from featstore.plant.plan import Plant, SimulatedClip, plan
from featstore.plant.synthesis import synthesise

PLANT = Plant()
RATE_HZ = PLANT.sample_rate_hz
QUIET = {name: replace(machine.site, snr_db=30.0, clanks_per_s=0.0) for name, machine in MACHINES.items()}


def scene(seconds: int = 4) -> Scene:
    return Scene(np.random.default_rng(0), Grid(seconds * RATE_HZ, RATE_HZ), Place(0, "fan", "source", "A"))


def sound(machine: str, condition: dict[str, float], fault: str = "", severity: float = 1.0) -> np.ndarray:
    """Ten quiet seconds of a machine under a chosen condition."""
    recording = Scene(np.random.default_rng(3), Grid(10 * RATE_HZ, RATE_HZ), Place(0, machine, "source", "A"))
    wear = {name: severity * (name == fault) for name in MACHINES[machine].faults}
    MACHINES[machine].render(recording, condition, wear)
    return recording.record(QUIET[machine])


def strongest_hz(wave: np.ndarray, low_hz: float, high_hz: float) -> float:
    hertz, power = signal.welch(wave, RATE_HZ, nperseg=RATE_HZ)
    inside = (hertz >= low_hz) & (hertz <= high_hz)
    return float(hertz[inside][np.argmax(power[inside])])


def envelope(wave: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    band = signal.butter(4, (low_hz, high_hz), "bandpass", fs=RATE_HZ, output="sos")
    return np.abs(signal.hilbert(signal.sosfiltfilt(band, wave)))


def test_order_k_is_a_line_of_the_stated_amplitude():
    empty = scene()
    wave = empty.periodic(np.arange(empty.grid.n) * (20.0 / RATE_HZ), np.array([0, 0, 0, 0.5]))
    lines = np.abs(np.fft.rfft(wave)) / (empty.grid.n / 2)
    assert np.argmax(lines) == 3 * 20 * 4  # bins are a quarter of a hertz apart
    np.testing.assert_allclose(lines.max(), 0.5, rtol=1e-3)


def test_orders_above_the_nyquist_frequency_are_left_out():
    empty = scene()
    orders = np.zeros(200)
    orders[150] = 1.0
    wave = empty.periodic(np.arange(empty.grid.n) * (100.0 / RATE_HZ), orders)  # 15 kHz would fold to 1 kHz
    np.testing.assert_allclose(wave, 0, atol=1e-9)


def test_noise_has_the_stated_rms():
    empty = scene()
    empty.add_modulated_noise(np.full(empty.grid.n, 0.3), 1000, 0.5)
    np.testing.assert_allclose(np.fft.irfft(empty.spectrum).std(), 0.3, rtol=0.1)
    empty.add_noise(1000, 0.5, 0.3)
    np.testing.assert_allclose(empty.power.mean(), 0.09)


def test_an_impact_between_two_samples_keeps_its_size_and_time():
    empty = scene()
    empty.add_impacts("body", np.array([1000.25, -3.0, 1e9]) / RATE_HZ, 2.0)
    train = empty.impacts["body"]
    np.testing.assert_array_equal(np.flatnonzero(train), [1000, 1001])
    np.testing.assert_allclose(train[[1000, 1001]], [1.5, 0.5], rtol=1e-5)


@pytest.mark.parametrize("machine", MACHINES)
def test_recordings_are_finite_and_within_range(machine):
    for clip in list(plan(Plant(clips=8, machines=(machine,)))):
        wave = synthesise(PLANT, clip)
        assert wave.shape == (PLANT.samples,)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() < 0.9
        assert 0.005 < wave.std() < 0.1
        assert abs(wave.mean()) < 1e-4


@pytest.mark.parametrize("machine", MACHINES)
def test_a_model_reads_the_wear_of_every_fault(machine):
    read = set()

    class Wear(dict[str, float]):
        def __getitem__(self, name: str) -> float:
            read.add(name)
            return super().__getitem__(name)

    condition = {name: float(values[0]) for name, values in MACHINES[machine].source.items() if name != "bg"}
    MACHINES[machine].render(scene(1), condition, Wear.fromkeys(MACHINES[machine].faults, 0.0))
    assert read == set(MACHINES[machine].faults)


@pytest.mark.parametrize("machine", MACHINES)
def test_loudness_alone_does_not_find_the_faults(machine):
    plant = Plant(clips=200, machines=(machine,), seconds=2.0)
    levels = {"normal": [], "anomaly": []}
    for clip in plan(plant):
        if clip.split == "test":
            levels[clip.label].append(synthesise(plant, clip).std())
    pairs = len(levels["normal"]) * len(levels["anomaly"])
    auc = stats.mannwhitneyu(levels["anomaly"], levels["normal"]).statistic / pairs
    assert 0.25 < auc < 0.75


@pytest.mark.parametrize("speed", [22.0, 28.0])
def test_fan_has_a_tone_at_its_blade_pass_frequency(speed):
    wave = sound("fan", {"spd": speed, "load": 1.0})
    assert strongest_hz(wave, 50, 400) == pytest.approx(FAN_BLADES * speed, rel=0.02)


def test_imbalance_raises_the_line_at_the_shaft_speed():
    power = {
        fault: signal.welch(sound("fan", {"spd": 26.0, "load": 1.0}, fault), RATE_HZ, nperseg=RATE_HZ)[1][24:29].max()
        for fault in ("", "imbalance")
    }
    assert power["imbalance"] > 4 * power[""]


@pytest.mark.parametrize("speed", [18.0, 24.0])
def test_gearbox_has_a_tone_at_its_mesh_frequency(speed):
    wave = sound("gearbox", {"spd": speed, "load": 1.0})
    assert strongest_hz(wave, 300, 800) == pytest.approx(GEAR_TEETH * speed, rel=0.02)


@pytest.mark.parametrize(("fault", "passes"), [("outer_race", OUTER_RACE), ("inner_race", INNER_RACE)])
def test_a_damaged_race_modulates_at_its_ball_pass_frequency(fault, passes):
    condition = {"vel": 16.0, "load": 1.0}
    beats = {}
    for worn in ("", fault):
        beat = envelope(sound("bearing", condition, worn), 2500, 5000)
        beats[worn] = beat / beat.mean() - 1
    assert strongest_hz(beats[fault], 40, 110) == pytest.approx(passes * 16, rel=0.02)
    line = {worn: signal.welch(beat, RATE_HZ, nperseg=RATE_HZ)[1][round(passes * 16)] for worn, beat in beats.items()}
    assert line[fault] > 4 * line[""]  # 19 averaged spectra: chance moves a line by a third


def test_valve_is_intermittent_and_a_fan_is_not():
    spread = {}
    for machine, condition in (("valve", {"pat": 2.0, "load": 1.0}), ("fan", {"spd": 26.0, "load": 1.0})):
        loud = envelope(sound(machine, condition), 1500, 3500).reshape(-1, 800).mean(axis=1)
        spread[machine] = np.log(np.quantile(loud, 0.9) / np.quantile(loud, 0.1))
    assert spread["valve"] > 2
    assert spread["fan"] < 0.5


def test_a_leaking_valve_is_louder_while_it_is_closed():
    quiet = {}
    for fault in ("", "leakage"):
        loud = envelope(sound("valve", {"pat": 2.0, "load": 1.0}, fault), 1500, 3500).reshape(-1, 800).mean(axis=1)
        quiet[fault] = np.quantile(loud, 0.2)
    assert quiet["leakage"] > 2 * quiet[""]


def test_slider_period_follows_from_its_velocity():
    loud = envelope(sound("slider", {"vel": 700.0, "load": 1.0}), 800, 3000).reshape(-1, 160).mean(axis=1)  # 100 Hz
    loud = loud - loud.mean()
    echo = signal.correlate(loud, loud)[len(loud) :]
    assert 60 + np.argmax(echo[60:200]) == pytest.approx(110, abs=4)


def test_the_sound_of_a_clip_depends_on_its_identity_only():
    clip = next(plan(PLANT))
    np.testing.assert_array_equal(synthesise(PLANT, clip), synthesise(Plant(clips=48), clip))
    other: SimulatedClip = replace(clip, number=clip.number + 1)
    assert np.corrcoef(synthesise(PLANT, clip), synthesise(PLANT, other))[0, 1] < 0.5
