"""The channel of a policy as text, and what it keeps of a recording."""

import numpy as np
import pytest
import soundfile

from featstore.audio.near_far.mix import mix_of
from featstore.audio.near_far.subtract import Subtraction, near_minus_far
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.clip import Window
from featstore.errors import DataError, RejectedAudio


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0", "0"),
        ("mean", "mean"),
        ("1+0", "0+1"),
        ("0-1", "0-1"),
        ("0-1:window=1024,taps=1", "0-1"),
        ("0-1:taps=4,window=512", "0-1:window=512,taps=4"),
        ("2-0:forget=0.95", "2-0:forget=0.95"),
    ],
)
def test_equal_mixes_have_equal_texts(text, same):
    assert mix_of(text).text == same == AudioPolicy(text).channel
    assert mix_of(same) == mix_of(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 0, 1"),
        ("left", "expected 0, 1"),
        ("-1", "expected 0, 1"),
        ("0-0", "expected 0, 1"),
        ("0-1:gain=2", "option 'gain=2'; expected window=N"),
        ("0-1:taps", "option 'taps'"),
        ("0-1:taps=2,taps=3", "each once"),
        ("0-1:taps=two", "taps='two' is no number"),
        ("0-1:window=5", "window=5: expected an even number"),
        ("\u0660", "expected 0, 1"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        mix_of(text)


def test_means_and_single_channels(rng):
    samples = rng.normal(size=(50, 3)).astype(np.float32)
    np.testing.assert_array_equal(mix_of("2").columns(samples)[:, 0], samples[:, 2])
    np.testing.assert_allclose(mix_of("mean").columns(samples)[:, 0], samples.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(mix_of("0+2").columns(samples)[:, 0], samples[:, [0, 2]].mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize(("rate", "subtype"), [(16000, "PCM_16"), (16000, "FLOAT"), (48000, "PCM_16")])
@pytest.mark.parametrize("window", [None, Window(0.5, 1.5)])
def test_a_file_is_read_as_its_channels_are_subtracted(tmp_path, rng, rate, subtype, window):
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.normal(size=(2 * rate, 2)), rate, subtype=subtype)
    read = {
        channel: read_recording(tmp_path / "a.wav", 16000, AudioPolicy(channel), window=window)
        for channel in ("0", "1", "0-1", "0-1:taps=2")
    }
    for channel, how in (("0-1", Subtraction()), ("0-1:taps=2", Subtraction(taps=2))):
        expected, _ = near_minus_far(read["0"].wave, read["1"].wave, how)
        np.testing.assert_allclose(read[channel].wave, expected, atol=1e-6)
        assert read[channel].measures == read["0"].measures


@pytest.mark.parametrize(("far", "outcome"), [(0.0, "far channel silent"), (0.5, "far channel a copy")])
def test_the_fall_back_is_an_outcome(tmp_path, rng, far, outcome):
    near = 0.25 * np.round(rng.uniform(-1, 1, 8000) * 4096) / 4096
    soundfile.write(tmp_path / "a.wav", np.stack([near, far * near], axis=1), 16000, subtype="FLOAT")
    own, left = (read_recording(tmp_path / "a.wav", 16000, AudioPolicy(channel)) for channel in ("0", "0-1"))
    assert (own.outcome, left.outcome) == ("", outcome)
    np.testing.assert_array_equal(left.wave, own.wave)


def test_a_recording_without_the_far_channel_is_rejected(tmp_path, rng):
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.normal(size=4000), 16000)
    with pytest.raises(RejectedAudio, match=r"channel 1 does not exist, the file has 1 \(0 to 0\)"):
        read_recording(tmp_path / "a.wav", 16000, AudioPolicy("0-1"))
