"""Every measured number against a wave made by hand, and blocks against the whole."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from featstore.audio.measure import MEASURED_FRAMES, UNKNOWN, Measures, Measuring, measure
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip, read_recording

RATE = 16_000


def noise(seconds: float = 1.0, scale: float = 0.1, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, round(seconds * rate)).astype(np.float32)


def sine(amplitude: float = 1.0, hz: float = 1000.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)).astype(np.float32)


def test_a_sine_has_its_level_and_peak() -> None:
    measured = measure(sine(0.5), RATE)
    assert measured.level_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-3)
    assert measured.peak == pytest.approx(0.5)
    assert measured.dc_offset == pytest.approx(0, abs=1e-6)
    assert (measured.dropouts, measured.dropout_s, measured.zero_run_s) == (0, 0, 0)


@pytest.mark.parametrize("offset", [0.02, -0.4])
def test_an_offset_is_no_level(offset: float) -> None:
    measured = measure(sine(1e-3) + np.float32(offset), RATE)
    assert measured.dc_offset == pytest.approx(offset, rel=1e-5)
    assert measured.level_dbfs == pytest.approx(20 * np.log10(1e-3 / np.sqrt(2)), abs=0.01)


def test_an_offset_that_changes_is_part_of_the_level() -> None:
    wave = noise(40, 0.01)
    wave[: 20 * RATE] += np.float32(0.1)
    exact = wave.astype(np.float64)
    measured = measure(wave, RATE)
    assert measured.level_dbfs == pytest.approx(10 * np.log10(exact.var()), abs=1e-3)
    assert measured.dc_offset == pytest.approx(exact.mean(), rel=1e-4)


def test_huge_samples_have_a_finite_level() -> None:
    measured = measure(sine() * np.float32(1e30), RATE)
    assert measured.level_dbfs == pytest.approx(600 - 3.01, abs=0.01)
    assert measured.peak == pytest.approx(1e30)


def test_silence_and_constants_have_the_lowest_level() -> None:
    silent = measure(np.zeros(RATE, np.float32), RATE)
    assert (silent.level_dbfs, silent.peak, silent.clipped, silent.dropouts, silent.zero_run_s) == (-200, 0, 0, 0, 1)
    assert np.isnan(silent.bandwidth_hz)
    stuck = measure(np.full(RATE, 0.25, np.float32), RATE)
    assert (stuck.level_dbfs, stuck.peak, stuck.dc_offset, stuck.clipped, stuck.zero_run_s) == (-200, 0.25, 0.25, 0, 0)
    assert np.isnan(stuck.bandwidth_hz)


def test_no_samples_are_unknown() -> None:
    assert all(map(np.isnan, measure(np.empty(0, np.float32), RATE)))
    assert all(map(np.isnan, UNKNOWN))


def test_clipping_counts_runs_of_three_at_the_extremes() -> None:
    wave = noise()
    wave[100:103], wave[200:205] = 1.0, -1.0  # eight samples
    wave[300:302], wave[400] = 1.0, -1.0  # no runs
    wave[500:510] = 0.5  # not at the extreme
    assert measure(wave, RATE).clipped == pytest.approx(8 / RATE)
    assert measure(noise(), RATE).clipped == 0
    assert measure(np.clip(noise(), -0.05, 0.05), RATE).clipped > 0.1, "below full scale, as a preamplifier clips"


@pytest.mark.parametrize("rest", [0.0, -0.1])
def test_a_rest_between_few_pulses_is_not_clipped(rest: float) -> None:
    wave = np.full(RATE, rest, np.float32)
    wave[500] = 0.5
    assert measure(wave, RATE).clipped == 0


def test_dropouts_are_runs_inside_sound() -> None:
    wave = noise()
    wave[:800] = 0  # 50 ms at the beginning: no drop-out
    wave[2000:2160] = 0  # 10 ms
    wave[4000:4080] = 0.125  # 5 ms of a repeated value
    wave[6000:6079] = 0.125  # one sample short of 5 ms
    wave[8000:8160] = 0
    wave[8080] = 0.01  # two runs of 5 ms, 80 and 79 samples
    wave[-400:] = 0
    measured = measure(wave, RATE)
    assert (measured.dropouts, measured.dropout_s) == (3, pytest.approx((160 + 80 + 80) / RATE))
    assert measured.zero_run_s == pytest.approx(0.05)


def test_zeros_at_the_end_are_counted() -> None:
    wave = noise()
    wave[-1600:] = 0
    measured = measure(wave, RATE)
    assert (measured.dropouts, measured.zero_run_s) == (0, pytest.approx(0.1))


def test_bandwidth_shows_a_recording_that_was_upsampled() -> None:
    import soxr

    assert measure(noise(4), RATE).bandwidth_hz == RATE / 2
    upsampled = soxr.resample(noise(4, rate=8000), 8000, RATE)
    sixteen_bit = (np.round(upsampled * 32768) / 32768).astype(np.float32)
    assert 3500 <= measure(sixteen_bit, RATE).bandwidth_hz <= 4100


def test_sound_that_falls_off_gently_is_not_cut() -> None:
    spectrum = np.fft.rfft(noise(4))
    hz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    falling = np.fft.irfft(spectrum * 10 ** (-60 * hz / 8000 / 20)).astype(np.float32)  # 60 dB up to 8 kHz
    assert measure(falling, RATE).bandwidth_hz == RATE / 2
    humming = noise(4, 0.001) + np.resize(sine(0.5, 100), 4 * RATE)
    assert measure(humming, RATE).bandwidth_hz == RATE / 2


def spoilt(seconds: float) -> np.ndarray:
    """Noise with all that is measured, also across the borders of blocks."""
    wave = noise(seconds) + np.float32(0.01)
    for start in range(5_000, len(wave) - 70_000, 60_000):
        wave[start : start + 40] = 0.9
        wave[start + 1000 : start + 5000] = 0
        wave[start + 7000 : start + 7200] = -0.9
    for border in range(1 << 16, len(wave) - 3000, 1 << 16):
        wave[border - 60 : border + 60] = 0
        wave[border + 2000 - 2 : border + 2000 + 1] = 0.9
    wave[MEASURED_FRAMES - 5 : MEASURED_FRAMES + 2] = 0.9
    wave[2 * MEASURED_FRAMES - 100 : 2 * MEASURED_FRAMES + 100] = -0.25
    return wave


def plain(wave: np.ndarray, rate: int) -> Measures:
    """The same numbers written plainly; without the bandwidth."""
    starts = np.flatnonzero(np.diff(wave, prepend=np.nan) != 0)
    runs = [(wave[a], b - a, a) for a, b in zip(starts, [*starts[1:], len(wave)], strict=True)]
    extremes = wave.min(), wave.max()
    clipped = sum(n for value, n, _ in runs if n >= 3 and value in extremes)
    lost = [n for _, n, a in runs if n >= 0.005 * rate and a > 0 and a + n < len(wave)]
    zeros = max((n for value, n, _ in runs if value == 0 and n >= 0.005 * rate), default=0)
    exact = wave.astype(np.float64)
    level = 10 * np.log10(exact.var())
    numbers = (level, abs(exact).max(), clipped / len(wave), exact.mean(), len(lost), sum(lost) / rate, zeros / rate)
    return Measures(*map(float, numbers), float("nan"))


@pytest.mark.parametrize("seconds", [0.01, 1.0, 40.0])
def test_numbers_equal_those_written_plainly(seconds: float) -> None:
    wave = spoilt(seconds) if seconds > 10 else noise(seconds)
    np.testing.assert_allclose(measure(wave, RATE)[:-1], plain(wave, RATE)[:-1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1 << 16, 99_991, 1_000_000])
def test_blocks_equal_the_whole(size: int) -> None:
    wave = spoilt(40)
    measuring = Measuring(RATE)
    for start in range(0, len(wave), size):
        measuring.add(wave[start : start + size])
    assert measuring.result() == measure(wave, RATE)


def test_a_low_sample_rate_is_measured(rng: np.random.Generator) -> None:
    wave = rng.normal(0, 0.1, 400).astype(np.float32)
    wave[100:108] = 0
    assert measure(wave, 100).dropout_s == pytest.approx(0.08)


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.flac", "PCM_16")])
def test_the_reader_measures_the_selected_channel_at_the_rate_of_the_file(
    tmp_path: Path, name: str, subtype: str
) -> None:
    wave = np.round(np.stack([spoilt(20), noise(20, 0.01)], axis=1) * 32768) / 32768
    sf.write(tmp_path / name, wave, 44_100, subtype=subtype)
    for channel in (0, 1):
        expected = measure(wave[:, channel].astype(np.float32), 44_100)
        for rate in (0, RATE, 44_100):
            recording = read_recording(tmp_path / name, rate, AudioPolicy(str(channel)))
            assert recording.measures == expected
        assert len(read_recording(tmp_path / name, 0, AudioPolicy(str(channel))).wave) == len(wave)
    padded = read_recording(tmp_path / name, RATE, AudioPolicy("1", "pad:30"), min_samples=10**6)
    assert padded.measures.zero_run_s == 0, "padding is not measured"


def test_a_window_has_the_numbers_of_its_own_samples(tmp_path: Path) -> None:
    wave = noise(3)
    wave[RATE : 2 * RATE] *= 4
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    window = read_clip(tmp_path, "a.wav#t=1,2", RATE, AudioPolicy())
    assert window.measures == measure(wave[RATE : 2 * RATE], RATE)


@pytest.mark.parametrize("pattern", [[0], [0, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
def test_long_runs_take_little_memory(pattern: list[int]) -> None:
    wave = np.resize(np.array(pattern, np.float32), MEASURED_FRAMES)
    measure(wave, RATE)
    tracemalloc.start()
    measure(wave, RATE)
    assert tracemalloc.get_traced_memory()[1] < 14 * len(wave)
    tracemalloc.stop()
