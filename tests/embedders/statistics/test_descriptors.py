"""Descriptors: values that can be derived by hand, librosa on the waveform, and the meaning of the columns."""

import librosa
import numpy as np
import pytest

from embedders.statistics.descriptors import Descriptors


def described(wave: np.ndarray, **params: object) -> dict[str, np.ndarray]:
    """Median over time of every block of columns."""
    embedder = Descriptors(stats=("median",), **params)  # type: ignore[arg-type]
    vector = embedder.embed(wave[None].astype(np.float32))[0]
    return {name: vector[columns] for name, columns in embedder.blocks.items()}


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=32000)).astype(np.float32)


def test_a_tone_by_hand() -> None:
    """1 kHz at amplitude 0.5 is near B5: RMS 0.354, one crossing every eight samples, and all power in one bin."""
    values = described(0.5 * np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000))
    np.testing.assert_allclose([values[name][0] for name in ("centroid", "rolloff")], 1.0, atol=0.02)
    assert values["bandwidth"][0] < 0.05
    np.testing.assert_allclose(values["rms"], 20 * np.log10(0.5 / np.sqrt(2) * np.sqrt(3 / 8)), atol=0.1)  # Hann window
    np.testing.assert_allclose(values["crossings"], 12.5, atol=0.2)
    assert int(values["chroma"].argmax()) == 11
    np.testing.assert_allclose(values["delta"], 0, atol=0.05)


def test_columns_equal_librosa_on_the_waveform(noise: np.ndarray) -> None:
    values, of_wave = described(noise), {"y": noise, "sr": 16000, "n_fft": 1024, "hop_length": 512}
    features = librosa.feature
    expected = {
        "centroid": features.spectral_centroid(**of_wave) / 1000,
        "bandwidth": features.spectral_bandwidth(**of_wave) / 1000,
        "rolloff": features.spectral_rolloff(**of_wave) / 1000,
        "chroma": features.chroma_stft(**of_wave, tuning=0.0),
        "contrast": features.spectral_contrast(**of_wave, n_bands=5),
        "mfcc": features.mfcc(**of_wave, n_mfcc=20),  # noise has no values below top_db
    }
    for name, frames in expected.items():
        np.testing.assert_allclose(values[name], np.median(frames, axis=1), rtol=2e-3, atol=2e-3, err_msg=name)


def test_deltas_equal_librosa(noise: np.ndarray) -> None:
    embedder = Descriptors(stats=("std",))
    spread, mfcc = embedder.embed(noise[None])[0], librosa.feature.mfcc(y=noise, sr=16000, n_fft=1024, hop_length=512)
    for name, order in (("delta", 1), ("delta2", 2)):
        expected = librosa.feature.delta(mfcc, order=order, mode="nearest").std(axis=1)
        np.testing.assert_allclose(spread[embedder.blocks[name]], expected, rtol=1e-2)


def test_level_changes_only_what_measures_level(noise: np.ndarray) -> None:
    quiet, loud = described(noise), described(10 * noise)
    np.testing.assert_allclose(loud["rms"] - quiet["rms"], 20.0, atol=1e-3)
    assert loud["mfcc"][0] - quiet["mfcc"][0] > 100  # the sum of the mels in dB
    np.testing.assert_allclose(loud["mfcc"][1:], quiet["mfcc"][1:], atol=1e-2)
    for name in set(quiet) - {"rms", "mfcc"}:
        np.testing.assert_allclose(loud[name], quiet[name], rtol=1e-2, atol=1e-2, err_msg=name)


def test_the_tempogram_shows_the_period(noise: np.ndarray) -> None:
    """Bursts every 12 frames: the octave of 8 to 15 frames is the first with a peak."""
    wave = np.tile(np.concatenate([noise[:1024], np.zeros(12 * 512 - 1024)]), 27)
    tempogram = described(wave, tempo_frames=64)["tempogram"]
    assert tempogram.shape == (6,)
    assert tempogram[3] > 0.5 > tempogram[2]


def test_a_view_is_a_statistic_of_the_frames(noise: np.ndarray) -> None:
    embedder = Descriptors(stats=("max", "min"))
    assert (embedder.views, embedder.shape) == (("max", "min"), (2, embedder.dim))
    highest, lowest = embedder.embed(noise[None])[0]
    assert (highest >= lowest).all()
    assert (highest > lowest).mean() > 0.9
    assert list(embedder.blocks.values())[-1].stop == embedder.dim


def test_high_sample_rates_have_one_octave_more() -> None:
    assert (Descriptors().octaves, Descriptors(sample_rate_hz=32000).octaves) == (5, 6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stats": ("mode",)}, "expected distinct names from mean"),
        ({"n_mfcc": 129}, "n_mfcc=129: expected 1 to n_mels, 128"),
        ({"tempo_frames": 1}, "at least 2 frames"),
        ({"sample_rate_hz": 500}, "sample_rate_hz=500: expected at least 800"),
    ],
)
def test_values_out_of_range_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Descriptors(**params)  # type: ignore[arg-type]
