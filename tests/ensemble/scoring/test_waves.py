"""A wave in memory becomes what the audio reader makes of its file."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ensemble.scoring.waves import kept_channels, prepared
from featstore.audio.near_far.mixes import mixes_of
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import BLOCK_FRAMES, read_recording
from featstore.errors import RejectedAudio


@pytest.mark.parametrize("length", ["native", "crop:1.5", "pad:9", "tile:9"])
@pytest.mark.parametrize(
    "channel", ["0", "1", "mean", "0+1", "0-1", "1-0:taps=3", "0-1:forget=0.9,window=512", "0,1,0-1", "mean,1"]
)
@pytest.mark.parametrize(
    ("rate", "subtype"), [(16000, "PCM_16"), (22050, "PCM_16"), (16000, "FLOAT"), (48000, "PCM_24")]
)
def test_equal_to_the_file(tmp_path: Path, rate: int, subtype: str, channel: str, length: str) -> None:
    samples = 0.3 * np.random.default_rng(0).normal(size=(2 * BLOCK_FRAMES + 77, 2))
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype=subtype)
    policy = AudioPolicy(channel, length)
    recording = read_recording(tmp_path / "a.wav", 16000, policy, min_samples=100)
    wave, _ = soundfile.read(tmp_path / "a.wav", dtype="int16" if subtype == "PCM_16" else "float32")
    ready = prepared(kept_channels(wave, rate, mixes_of(channel)), rate, 16000, policy, 100)
    np.testing.assert_allclose(ready.wave, recording.wave, rtol=0, atol=1e-7)
    assert ready.wave.dtype == np.float32
    assert (ready.outcome, ready.sample_rate_hz, ready.n_samples) == (recording.outcome, rate, len(wave))


def test_short_waves_are_padded() -> None:
    ready = prepared(np.ones((10, 1), np.float32), 16000, 16000, AudioPolicy(), 100)
    assert (len(ready.wave), ready.outcome) == (100, "padded")
    assert len(prepared(np.ones((1, 1), np.float32), 48000, 8000, AudioPolicy(), 100).wave) == 100


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_integers_have_full_scale_one(dtype: str) -> None:
    limits = np.iinfo(dtype)
    wave = kept_channels(np.array([limits.min, 0, limits.max], dtype=dtype), 16000, mixes_of("0"))[:, 0]
    np.testing.assert_allclose(wave, [-1, 0, limits.max / -limits.min], atol=1e-6)


def test_a_wave_of_more_channels_than_samples_is_refused() -> None:
    with pytest.raises(RejectedAudio, match="160 channels of 1 samples: expected"):
        kept_channels(np.zeros((1, 160)), 16000, mixes_of("0"))
