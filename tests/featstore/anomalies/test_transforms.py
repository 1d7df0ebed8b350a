"""Transforms by a given amount: each amount is found again in the transformed wave."""

import numpy as np
import pytest
from scipy import signal

from featstore.anomalies import transforms

RATE = 16000


def throbbing(seconds=8.0, hz=1050):
    """A tone whose level varies four times per second."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * hz * t) * (1.2 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def strongest_hz(wave, low, high):
    spectrum, hz = np.abs(np.fft.rfft(wave - wave.mean())), np.fft.rfftfreq(len(wave), 1 / RATE)
    inside = (hz > low) & (hz < high)
    return hz[inside][spectrum[inside].argmax()]


@pytest.mark.parametrize(
    ("function", "factor", "pitch", "rhythm"),
    [
        (transforms.speed_by, 1.25, 1.25, 1.25),
        (transforms.pitch_by, 1.2, 1.2, 1.0),
        (transforms.tempo_by, 1.3, 1.0, 1.3),
        (transforms.tempo_by, 0.8, 1.0, 0.8),
    ],
)
def test_pitch_and_rhythm_change_by_their_factors(function, factor, pitch, rhythm):
    wave = throbbing()
    out = function(wave, RATE, factor)
    assert (out.dtype, out.shape) == (np.float32, wave.shape)
    assert strongest_hz(out, 500, 2000) == pytest.approx(1050 * pitch, rel=0.02)
    envelope = np.abs(signal.hilbert(out[: 6 * RATE]))  # before the wave repeats
    assert strongest_hz(envelope, 1, 20) == pytest.approx(4 * rhythm, abs=0.2)


@pytest.mark.parametrize("factor", [0.75, 1.33])
def test_tempo_keeps_high_frequencies(factor):
    out = transforms.tempo_by(throbbing(hz=7050), RATE, factor)
    assert strongest_hz(out, 500, 8000) == pytest.approx(7050, rel=0.02)
    assert np.std(out) == pytest.approx(np.std(throbbing(hz=7050)), rel=0.2)


def test_noise_has_the_asked_level(rng):
    wave = throbbing()
    noise = transforms.add_noise(wave, 6.0, rng) - wave
    assert 10 * np.log10(np.var(wave) / np.var(noise)) == pytest.approx(6.0, abs=0.1)
    assert not transforms.add_noise(np.zeros(100, np.float32), 0.0, rng).any()


def test_gain_and_removed_time_by_hand():
    wave = np.ones(10, np.float32)
    np.testing.assert_allclose(transforms.gain_by(wave, -20.0), 0.1, rtol=1e-6)
    assert transforms.remove_time(wave, 0.2, 0.5).tolist() == [1, 1, 0, 0, 0, 1, 1, 1, 1, 1]


def test_a_removed_band_leaves_the_others():
    low, high = throbbing(2.0, 1000), throbbing(2.0, 5000)
    out = transforms.remove_band(low + high, 0.5, 0.75)  # 4 to 6 kHz
    np.testing.assert_allclose(out, low, atol=0.02)


@pytest.mark.parametrize("n", [40, 1001])
def test_short_waves_keep_their_length_and_are_not_changed_in_place(n, rng):
    wave = rng.standard_normal(n).astype(np.float32)
    wave.flags.writeable = False
    for factor in (0.75, 1.33):
        for function in (transforms.speed_by, transforms.pitch_by, transforms.tempo_by):
            out = function(wave, RATE, factor)
            assert out.shape == (n,)
            assert np.isfinite(out).all()
    assert transforms.remove_band(wave, 0.1, 0.2).shape == (n,)
    assert transforms.remove_time(wave, 0.1, 0.2).shape == (n,)
