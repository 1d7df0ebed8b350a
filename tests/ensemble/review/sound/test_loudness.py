"""The level at which two sounds are compared."""

import io

import numpy as np
import pytest
import soundfile as sf

from ensemble.page.media import MAX_GAIN, PEAK, Sound
from ensemble.review.sound.loudness import EQUAL, SAME, gain_of, rms, wav

RATE = 8000
t = np.arange(RATE) / RATE
QUIET = Sound((0.01 * np.sin(2 * np.pi * 100 * t)).astype(np.float32), RATE)
LOUD = Sound((0.5 * np.sign(np.sin(2 * np.pi * 100 * t + 0.1))).astype(np.float32), RATE)
SILENT = Sound(np.zeros(RATE, np.float32), RATE)


def test_equal_loudness_is_equal_rms_without_clipping() -> None:
    levels = [gain_of(QUIET, LOUD, EQUAL) * rms(QUIET), gain_of(LOUD, QUIET, EQUAL) * rms(LOUD)]
    assert levels[0] == pytest.approx(levels[1], rel=1e-6)
    peaks = [gain_of(QUIET, LOUD, EQUAL) * 0.01, gain_of(LOUD, QUIET, EQUAL) * 0.5]
    assert max(peaks) == pytest.approx(PEAK, rel=1e-3)


def test_the_same_gain_keeps_the_difference() -> None:
    assert gain_of(QUIET, LOUD, SAME) == gain_of(LOUD, QUIET, SAME) == pytest.approx(PEAK / 0.5)


def test_silence_and_no_other_sound() -> None:
    assert gain_of(SILENT, LOUD, EQUAL) == 1
    assert gain_of(LOUD, SILENT, EQUAL) == gain_of(LOUD, None, EQUAL) == pytest.approx(PEAK / 0.5)
    faint = Sound(QUIET.wave * 1e-5, RATE)
    assert gain_of(faint, None, EQUAL) == MAX_GAIN


def test_a_wav_file_has_the_samples() -> None:
    samples, rate = sf.read(io.BytesIO(wav(QUIET, 10.0)))
    assert rate == RATE
    np.testing.assert_allclose(samples, 10 * QUIET.wave, atol=1e-4)
