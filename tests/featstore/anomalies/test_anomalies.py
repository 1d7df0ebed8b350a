"""Every generated anomaly fulfils the contract, reaches the requested severity, and has the physics of its name."""

import numpy as np
import pytest
from fakes import HissTranslator
from scipy import fft, signal

from featstore import registry
from featstore.anomalies import added, altered
from featstore.anomalies.severity import change_db, parameter_for, rms_spectrum
from featstore.anomalies.table import ANOMALIES, Anomaly, find, render

RATE = 16000
SEVERITIES = (-10.0, -5.0, 0.0, 5.0)


def hum(seconds: float = 2.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A machine: harmonics of 97 Hz whose level wanders, in noise, with an offset."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * 97 * k * t + k) / k for k in range(1, 15))
    wave = 0.05 * tones * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * t)) + 0.02 * rng.standard_normal(len(t)) + 0.01
    return wave.astype(np.float32)


def other_machine(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Hiss with a slow pulse: a donor unlike `hum`."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(9).standard_normal(len(t))
    pulse = 1 + np.sign(np.sin(2 * np.pi * 3 * t))
    return (0.1 * np.diff(noise, prepend=0) * pulse).astype(np.float32)


TEXTS = {"described": "impacts:per_second=12+modulation+leak:level_db=-6", "translated": "a.safetensors|00|fan|hiss"}


@pytest.fixture(autouse=True)
def translator(monkeypatch):
    """A network that was trained to add hiss, without its training."""
    monkeypatch.setattr(registry, "FAULT_TRANSLATOR", HissTranslator)


def donor_of(name: str, seconds: float = 2.0, rate: int = RATE) -> np.ndarray | str | None:
    """What an anomaly needs: nothing, a text, or a wave."""
    kind = ANOMALIES[name].donor
    return TEXTS[kind] if kind in TEXTS else other_machine(seconds, rate) if kind else None


def make(name: str, wave: np.ndarray, severity: float, *, rate: int = RATE, seed: int = 4) -> np.ndarray:
    donor = donor_of(name, len(wave) / rate, rate)
    return render(name, wave, rate, severity, rng=np.random.default_rng(seed), donor=donor)


def measured(name: str, wave: np.ndarray, severity: float, **how: int) -> float:
    out = make(name, wave, severity, **how)
    return change_db(wave, out, how.get("rate", RATE), measure=ANOMALIES[name].measure)


every = pytest.mark.parametrize("name", ANOMALIES)


@every
@pytest.mark.parametrize("severity", SEVERITIES)
def test_same_shape_finite_within_range_and_different(name, severity):
    wave = hum()
    out = make(name, wave, severity)
    assert (out.shape, out.dtype) == (wave.shape, np.float32)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1
    assert np.mean(out != wave) > 0.02


@every
def test_the_result_depends_on_the_seed_and_the_input_is_unchanged(name):
    wave = hum()
    before = wave.copy()
    wave.flags.writeable = False
    np.testing.assert_array_equal(make(name, wave, -5, seed=1), make(name, wave, -5, seed=1))
    np.testing.assert_array_equal(wave, before)
    if name not in {
        "clipping",
        "blockage",
        "statex",
        "mix",
        "recorded",
        "translated",
    }:  # these have no random part with one donor of equal length
        assert (make(name, wave, -5, seed=1) != make(name, wave, -5, seed=2)).any()


@every
@pytest.mark.parametrize("seed", range(3))
def test_the_requested_severity_is_reached_up_to_max_db_and_never_falls(name, seed):
    wave = hum()
    reached = [measured(name, wave, severity, seed=seed) for severity in SEVERITIES]
    assert np.diff(reached).min() > -0.01
    max_db = ANOMALIES[name].max_db
    for requested_db, reached_db in zip(SEVERITIES, reached, strict=True):
        assert reached_db < requested_db + 1.5
        if requested_db <= max_db:
            assert reached_db > requested_db - 1.5, f"requested {requested_db}, reached {reached_db}"


@every
@pytest.mark.parametrize(
    ("seconds", "rate"), [(0.1, 8000), (0.1, 48000), (1.0, 8000), (1.3, 44100), (3.00001, 22050), (20.0, 16000)]
)
def test_any_length_and_rate(name, seconds, rate):
    wave = hum(seconds, rate)
    out = make(name, wave, -5, rate=rate)
    assert out.shape == wave.shape
    assert np.isfinite(out).all()
    assert (out != wave).any()


@every
def test_silence_stays_silent_and_loud_clips_stay_in_range(name):
    np.testing.assert_array_equal(make(name, np.zeros(RATE, np.float32), 5), 0)
    constant = make(name, np.full(RATE, 0.25, np.float32), 5)
    np.testing.assert_allclose(constant, 0.25, atol=1e-4)
    wave = hum()
    loud = wave / np.abs(wave).max()
    assert np.abs(make(name, loud, 5)).max() <= 1
    assert np.abs(make(name, 3 * loud, 5)).max() <= 3.0001
    gaps = loud.copy()
    gaps[: RATE // 2] = 0
    assert np.isfinite(make(name, gaps, 0)).all()


@every
def test_severity_is_relative_to_the_clip(name):
    wave = 0.01 * hum()
    donor = donor_of(name)
    quiet, loud = (render(name, k * wave, RATE, -5, rng=np.random.default_rng(3), donor=donor) for k in (1, 64))
    np.testing.assert_allclose(loud, 64 * quiet, atol=2e-3 * np.abs(loud).max())


# The physics of each anomaly


def power_near(wave: np.ndarray, hz: float, width_hz: float = 8) -> float:
    """Energy of the wave around a frequency."""
    S = np.abs(fft.rfft((wave - wave.mean()) * np.hanning(len(wave)))) ** 2
    axis = fft.rfftfreq(len(wave), 1 / RATE)
    return float(S[np.abs(axis - hz) < width_hz].sum())


def share_between(wave: np.ndarray, low_hz: float, high_hz: float) -> float:
    S = np.abs(fft.rfft(wave - wave.mean())) ** 2
    axis = fft.rfftfreq(len(wave), 1 / RATE)
    return float(S[(axis >= low_hz) & (axis < high_hz)].sum() / S.sum())


def strongest_hz(wave: np.ndarray, above_hz: float = 0, below_hz: float = 8000) -> float:
    S = np.abs(fft.rfft((wave - wave.mean()) * np.hanning(len(wave))))
    axis = fft.rfftfreq(len(wave), 1 / RATE)
    return float(axis[np.argmax(np.where((axis > above_hz) & (axis < below_hz), S, 0))])


def tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def noise(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def test_impacts_have_their_rate_in_the_envelope_and_their_resonance_in_the_spectrum(rng):
    train = added.impact_train(10 * RATE, RATE, 17.0, (3000.0, 0.004), rng)
    assert strongest_hz(np.abs(signal.hilbert(train)), 2, 30) == pytest.approx(17, abs=0.2)
    assert strongest_hz(train) == pytest.approx(3000, abs=150)
    changed = render("impacts", hum(10), RATE, 5, rng=np.random.default_rng(2)) - hum(10)
    rate_hz = np.random.default_rng(2).uniform(4, 40)
    assert strongest_hz(np.abs(signal.hilbert(changed)), 3, 1.5 * rate_hz) == pytest.approx(rate_hz, abs=0.3)


def test_squeal_is_a_line_with_harmonics_that_drifts_about_its_pitch(rng):
    line = added.drifting_tone(4 * RATE, RATE, 2000.0, (0.02, 3), rng)
    assert share_between(line, 1940, 2060) == pytest.approx(1 / (1 + 1 / 4 + 1 / 9), abs=0.01)
    turns = np.diff(np.unwrap(np.angle(signal.hilbert(added.drifting_tone(4 * RATE, RATE, 2000.0, (0.02, 1), rng)))))
    pitch_hz = turns[2000:-2000] * RATE / (2 * np.pi)
    np.testing.assert_allclose(np.quantile(pitch_hz, [0.01, 0.99]), [1960, 2040], atol=4)
    high = added.drifting_tone(RATE, RATE, 5000.0, (0.01, 5), rng)
    assert share_between(high, 4900, 5100) > 0.999, "harmonics above half the rate would fold back"


def test_leak_has_a_flat_spectrum_in_its_band_only(rng):
    hiss = added.band_noise(4 * RATE, RATE, (1000.0, 3000.0), rng)
    assert share_between(hiss, 1000, 3000) > 0.999
    assert share_between(hiss, 1000, 2000) == pytest.approx(0.5, abs=0.03)


def test_bursts_are_silent_most_of_the_time():
    changed = make("bursts", hum(10), 0) - hum(10)
    level = np.sqrt(np.mean(changed.reshape(-1, RATE // 20) ** 2, axis=1))
    assert np.median(level) < 0.1 * level.max()


def test_distortion_adds_harmonics_to_a_tone_and_keeps_the_tone():
    wave = tone(300)
    out = make("distortion", wave, 0)
    assert power_near(out, 300) == pytest.approx(power_near(wave, 300), rel=0.01)
    assert power_near(out, 900) > 0.05 * power_near(wave, 300)
    assert share_between(out - wave, 0, 250) < 0.01


def test_mix_is_the_clip_plus_the_scaled_donor():
    wave, donor = hum(), other_machine()
    out = render("mix", wave, RATE, -5, rng=np.random.default_rng(0), donor=donor)
    assert np.corrcoef(out - wave, donor)[0, 1] > 0.9999


def test_modulation_of_a_tone_gives_side_bands_at_the_modulation_frequency():
    out = make("modulation", tone(1000, 8.0), -10)
    side_hz = strongest_hz(out, 1001)
    spacing_hz = side_hz - 1000
    assert 2 <= spacing_hz <= 30
    assert strongest_hz(out, 0, 999) == pytest.approx(1000 - spacing_hz, abs=0.2)
    assert strongest_hz(np.abs(signal.hilbert(out)), 1, 60) == pytest.approx(spacing_hz, abs=0.2)


@pytest.mark.parametrize("seed", range(4))
def test_speed_moves_pitch_and_rhythm_by_one_factor(seed):
    t = np.arange(8 * RATE) / RATE
    wave = (tone(1000, 8.0) * (1.2 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)
    out = make("speed", wave, -5, seed=seed)
    factor = strongest_hz(out) / 1000
    assert abs(factor - 1) > 0.002
    assert strongest_hz(np.abs(signal.hilbert(out)), 1, 20) == pytest.approx(4 * factor, abs=0.15)


def test_pitch_moves_frequencies_and_keeps_the_rhythm():
    t = np.arange(8 * RATE) / RATE
    wave = ((tone(1050, 8.0) + 0.3 * tone(3050, 8.0)) * (1.2 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)
    out = altered.move_bands(wave, RATE, lambda hz: 1.2 * hz)
    assert strongest_hz(out) == pytest.approx(1260, abs=1)
    assert strongest_hz(out, 2000) == pytest.approx(3660, abs=1)
    assert strongest_hz(np.abs(signal.hilbert(out)), 1, 20) == pytest.approx(4, abs=0.15)
    assert strongest_hz(make("pitch", tone(1050), -5)) != pytest.approx(1050, abs=2)


def test_warp_moves_low_frequencies_more_than_high_ones():
    wave = (tone(550) + tone(6050)).astype(np.float32)
    out = make("warp", wave, 0)
    low, high = strongest_hz(out, 0, 3000) / 550, strongest_hz(out, 4500) / 6050
    assert abs(np.log(low)) > 2 * abs(np.log(high)) > 0


def test_blockage_removes_high_frequencies_and_keeps_low_ones():
    wave = noise()
    out = make("blockage", wave, -5)
    lost = 10**-0.5
    assert share_between(out, 8000 * (1 - lost) + 50, 8001) < 0.005
    assert power_near(out, 1000) == pytest.approx(power_near(wave, 1000), rel=0.01)


def test_bandstop_removes_one_band():
    wave = noise()
    change = rms_spectrum(make("bandstop", wave, -10), RATE) / rms_spectrum(wave, RATE)
    inside = np.flatnonzero(change < 0.5)
    assert 0.05 < len(inside) / len(change) < 0.15, "a tenth of the energy of white noise is a tenth of the band"
    assert np.ptp(inside) == len(inside) - 1
    assert change[0] > 0.9
    assert change[-1] > 0.9


def test_dropouts_are_nearly_silent():
    wave = noise(5.0)
    level = (make("dropouts", wave, -5) ** 2).reshape(-1, 80).mean(axis=1) / (wave**2).reshape(-1, 80).mean(axis=1)
    assert np.mean(level < 0.05) == pytest.approx(10**-0.5, abs=0.06)
    assert np.mean(level > 0.95) == pytest.approx(1 - 10**-0.5, abs=0.06)


def test_stutter_repeats():
    wave = noise(5.0)
    out = make("stutter", wave, 5)
    lags = range(RATE // 100, RATE // 5)
    repeats = max(float(np.mean(out[lag:] == out[:-lag])) for lag in lags)
    assert repeats > 0.3
    assert max(float(np.mean(wave[lag:] == wave[:-lag])) for lag in list(lags)[::50]) < 0.01


def test_reversed_and_shuffled_keep_the_spectrum_and_change_the_order():
    wave = noise(4.0)
    for name in ("reversed", "shuffled"):
        out = make(name, wave, 5)
        assert change_db(wave, out, RATE) == pytest.approx(3, abs=0.3), name
        assert change_db(wave, out, RATE, measure="spectrum") < -17, name
    segment = 0.1 * np.arange(8, dtype=np.float32)
    out = altered.alter_segments(segment, 8, 5.0, np.random.default_rng(0), lambda S: S[:, ::-1], seconds=(0.25, 0.25))
    np.testing.assert_allclose(out, 0.1 * np.array([1, 0, 3, 2, 5, 4, 7, 6]), atol=1e-6)


def test_clipping_flattens_the_peaks_only():
    wave = noise()
    out = make("clipping", wave, -10)
    limit = np.abs(out - wave.mean()).max()
    below = np.abs(wave - wave.mean()) < 0.99 * limit
    assert 0.3 < below.mean() < 0.9
    np.testing.assert_allclose(out[below], wave[below], atol=1e-6)


def test_statex_gives_the_clip_the_spectrum_of_the_donor_and_keeps_its_level():
    rng = np.random.default_rng(3)
    wave = noise()
    donor = signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(2 * RATE)).astype(np.float32)
    out = render("statex", wave, RATE, 20, rng=rng, donor=donor)
    assert share_between(wave, 0, 1000) == pytest.approx(1 / 8, abs=0.01)
    assert share_between(out, 0, 1000) == pytest.approx(share_between(donor, 0, 1000), abs=0.05)
    assert out.std() == pytest.approx(wave.std(), rel=0.1)


def test_recorded_replaces_the_clip_from_three_db_on():
    wave, donor = hum(), other_machine()
    out = render("recorded", wave, RATE, 5, rng=np.random.default_rng(0), donor=donor)
    assert np.corrcoef(out, donor)[0, 1] > 0.9999
    assert out.std() == pytest.approx(wave.std(), rel=1e-3)
    short = render("recorded", wave, RATE, 5, rng=np.random.default_rng(0), donor=donor[:5000])
    np.testing.assert_allclose(short[:5000], short[5000:10000], atol=1e-6)


# Severity and errors


def test_change_by_hand():
    before, after = np.array([1.0, -1.0, 1.0, -1.0] * 20), np.array([2.0, -1.0, 1.0, -1.0] * 20)
    assert change_db(before, after, 8) == pytest.approx(10 * np.log10(0.25))
    assert change_db(before + 7, after + 7, 8) == pytest.approx(10 * np.log10(0.25)), "a DC offset does not count"
    assert change_db(before, before, 8) == -np.inf
    assert change_db(np.zeros(80), after, 8) == np.inf
    assert change_db(np.zeros(80), np.zeros(80), 8) == -np.inf
    doubled = change_db(noise(), 2 * noise(), RATE, measure="spectrum")
    assert doubled == pytest.approx(0, abs=1e-4)
    assert change_db(noise(), np.roll(noise(), 4000), RATE, measure="spectrum") < -20
    with pytest.raises(ValueError, match="unknown measure 'loudness'"):
        change_db(before, after, 8, measure="loudness")


def test_parameter_for_solves_and_saturates():
    assert parameter_for(lambda x: x**2, 1e-3, 10, 0) == pytest.approx(1, rel=1e-5)
    assert parameter_for(lambda x: x**2, 1e-3, 10, 100) == 10


def test_wrong_arguments_are_errors():
    wave, rng = hum(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown anomaly: 'impact'; did you mean impacts"):
        find("impact")
    with pytest.raises(ValueError, match="takes a donor \\(machine\\)"):
        render("mix", wave, RATE, 0, rng=rng)
    with pytest.raises(ValueError, match="takes no donor"):
        render("leak", wave, RATE, 0, rng=rng, donor=wave)
    for bad in (np.zeros((2, 100)), np.zeros(10), np.full(100, np.nan)):
        with pytest.raises(ValueError, match="expected a finite wave"):
            render("leak", bad, RATE, 0, rng=rng)


def test_the_contract_fails_for_a_wrong_transform(monkeypatch):
    monkeypatch.setitem(ANOMALIES, "leak", Anomaly(lambda wave, *rest: wave * 1.01))
    with pytest.raises(AssertionError, match="requested"):
        test_the_requested_severity_is_reached_up_to_max_db_and_never_falls("leak", 0)
