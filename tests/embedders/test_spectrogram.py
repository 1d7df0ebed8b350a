"""Spectrograms against librosa and the plain formula, and the errors."""

import numpy as np
import pytest
import torch

from embedders import spectrogram
from embedders.spectrogram import MelConfig, log_mel, mel_filter_bank, mel_power, sort_frames, stft_power

librosa = pytest.importorskip("librosa")

CONFIGS = [
    MelConfig(),
    MelConfig(center=False),
    MelConfig(pad_mode="reflect"),
    MelConfig(mel_scale="htk"),
    MelConfig(mel_norm="none"),
    MelConfig(n_fft=2048, hop=160, n_mels=64),
    MelConfig(n_fft=400, hop=160, n_mels=40, mel_scale="htk", mel_norm="none"),
    MelConfig(sample_rate_hz=44100, n_fft=1000, hop=333, n_mels=77, fmin_hz=50.0, fmax_hz=9000.0),
]


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=n_samples)).astype(np.float32)


def librosa_mel(wave: np.ndarray, config: MelConfig) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=wave,
        sr=config.sample_rate_hz,
        n_fft=config.n_fft,
        hop_length=config.hop,
        n_mels=config.n_mels,
        fmin=config.fmin_hz,
        fmax=config.fmax_hz,
        htk=config.mel_scale == "htk",
        norm="slaney" if config.mel_norm == "slaney" else None,
        center=config.center,
        pad_mode=config.pad_mode,
    )


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("n_samples", [160000, 12345])
def test_mel_power_equals_librosa(config, n_samples):
    wave = noise(n_samples)
    S = mel_power(torch.from_numpy(wave)[None], config)[0].T.numpy()
    expected = librosa_mel(wave, config)
    assert S.shape == expected.shape
    np.testing.assert_allclose(S, expected, rtol=1e-5, atol=1e-7 * expected.max())


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_filters_equal_librosa(config):
    expected = librosa.filters.mel(
        sr=config.sample_rate_hz,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.fmin_hz,
        fmax=config.fmax_hz,
        htk=config.mel_scale == "htk",
        norm="slaney" if config.mel_norm == "slaney" else None,
    )
    np.testing.assert_allclose(mel_filter_bank(config), expected, atol=1e-7 * expected.max())


@pytest.mark.parametrize("top_db", [None, 30.0])
def test_log_mel_equals_librosa(top_db):
    waves = np.stack([noise(20000), 0.01 * noise(20000, seed=1) * np.linspace(0, 1, 20000)]).astype(np.float32)
    S = log_mel(torch.from_numpy(waves), MelConfig(top_db=top_db)).numpy()
    for wave, values in zip(waves, S, strict=True):
        expected = librosa.power_to_db(librosa_mel(wave, MelConfig()), ref=1.0, amin=1e-10, top_db=top_db)
        np.testing.assert_allclose(values.T, expected, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_banded_product_equals_plain_product(config):
    waves = torch.from_numpy(noise(30000).reshape(2, -1))
    plain = stft_power(waves, config) @ torch.tensor(mel_filter_bank(config)).T
    torch.testing.assert_close(mel_power(waves, config), plain, rtol=1e-5, atol=1e-9)


def test_tone_has_the_power_of_its_bin():
    """A sine of amplitude a on bin k has power (a * sum(window) / 2) ** 2 there: a Hann window of 1024 sums to 512."""
    wave = 0.5 * torch.sin(2 * torch.pi * 64 / 1024 * torch.arange(8192, dtype=torch.float32))
    power = stft_power(wave[None], MelConfig(center=False))
    torch.testing.assert_close(power[0, :, 64], torch.full((15,), (0.5 * 512 / 2) ** 2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("block", [(1, 1), (1, 7), (2, None), (9, None)])
def test_blocks_equal_whole(monkeypatch, center, block):
    waves, config = torch.from_numpy(noise(60000).reshape(3, -1)), MelConfig(center=center)
    whole = mel_power(waves, config)
    monkeypatch.setattr(spectrogram, "_block_shape", lambda clips, frames, device: (block[0], block[1] or frames))
    torch.testing.assert_close(mel_power(waves, config), whole, rtol=1e-5, atol=0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("n_clips", [0, 1, 1000])
@pytest.mark.parametrize("n_frames", [1, 313, 10**6])
def test_blocks_are_part_of_one_clip_or_whole_clips(device, n_clips, n_frames):
    rows, columns = spectrogram._block_shape(n_clips, n_frames, torch.device(device))
    assert rows == 1 or columns == n_frames
    assert 1 <= rows * columns <= max(spectrogram.CPU_BLOCK_FRAMES, spectrogram.DEVICE_BLOCK_FRAMES)


def test_sort_frames_moves_time_last_and_ascending():
    S = torch.tensor([[[3.0, 0.0], [1.0, 5.0], [2.0, 4.0]]])
    assert sort_frames(S).tolist() == [[[1.0, 2.0, 3.0], [0.0, 4.0, 5.0]]]


def test_sort_frames_does_not_change_its_input():
    """With a single mel, transposing makes no copy."""
    S = torch.tensor([[[2.0], [1.0]]])
    assert sort_frames(S).tolist() == [[[1.0, 2.0]]]
    assert S.tolist() == [[[2.0], [1.0]]]


def test_silence_is_the_floor_and_input_is_untouched():
    waves = torch.zeros(2, 4096)
    assert torch.equal(log_mel(waves, MelConfig()), torch.full((2, 9, 128), -100.0))
    assert not waves.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 0}, "hop must be at least 1, got 0"),
        ({"fmax_hz": 9000.0}, "half the sample rate"),
        ({"fmin_hz": 8000.0}, "fmin_hz < fmax_hz"),
        ({"mel_scale": "bark"}, "unknown mel_scale 'bark'; choose from slaney, htk"),
        ({"pad_mode": "wrap"}, "choose from constant, reflect"),
        ({"amin": 0.0}, "amin must be positive"),
        ({"top_db": -1.0}, "top_db must be positive"),
    ],
)
def test_impossible_front_ends_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        MelConfig(**change)


@pytest.mark.parametrize("shape", [(4096,), (1, 1023), (1, 2, 4096)])
def test_wrong_waves_are_refused(shape):
    with pytest.raises(ValueError, match="at least 1024 samples"):
        log_mel(torch.zeros(shape), MelConfig())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    waves = torch.from_numpy(noise(320000).reshape(4, -1))
    torch.testing.assert_close(log_mel(waves.cuda(), MelConfig()).cpu(), log_mel(waves, MelConfig()), rtol=0, atol=1e-3)
