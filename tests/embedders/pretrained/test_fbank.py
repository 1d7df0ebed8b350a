"""Kaldi's filter bank against its definition step by step, against torchaudio if installed, and symmetries."""

import math

import numpy as np
import pytest
import torch
from beats_reference import fbank as reference

from embedders.pretrained.fbank import kaldi_fbank


def noise(samples: int, scale: float = 3000.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, samples)).astype(np.float32) * scale)


@pytest.mark.parametrize("n_mels", [23, 128])
def test_agrees_with_the_definition(n_mels):
    waves = noise(1500)
    expected = np.stack([reference(wave.double().numpy(), n_mels) for wave in waves])
    np.testing.assert_allclose(kaldi_fbank(waves, n_mels=n_mels), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_agrees_with_torchaudio(scale):
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi", reason="torchaudio is not installed")
    waves = noise(16000, scale)
    expected = torch.stack([kaldi.fbank(wave[None], num_mel_bins=128, sample_frequency=16000) for wave in waves])
    torch.testing.assert_close(kaldi_fbank(waves), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("samples", "frames"), [(400, 1), (559, 1), (560, 2), (160000, 998)])
def test_frames_are_whole(samples, frames):
    assert kaldi_fbank(noise(samples)).shape == (2, frames, 128)


def test_loudness_shifts_and_offset_does_nothing():
    waves = noise(4000)
    S = kaldi_fbank(waves, n_mels=23)  # of 128 filters some are narrower than a bin, hence at the floor
    torch.testing.assert_close(kaldi_fbank(waves * 2, n_mels=23), S + 2 * math.log(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(kaldi_fbank(waves + 500, n_mels=23), S, rtol=0, atol=1e-2)


def test_a_tone_is_loudest_in_its_filter():
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(16000) / 16000)[None] * 1000
    centres = np.linspace(1127 * math.log1p(20 / 700), 1127 * math.log1p(8000 / 700), 130)[1:-1]
    nearest = int(np.abs(centres - 1127 * math.log1p(1000 / 700)).argmin())
    assert abs(int(kaldi_fbank(tone).mean(dim=1).argmax()) - nearest) <= 1


def test_silence_has_a_floor():
    assert torch.equal(kaldi_fbank(torch.zeros(1, 400)), torch.full((1, 1, 128), math.log(2**-23)))


@pytest.mark.parametrize("shape", [(1, 399), (400,)])
def test_wrong_waves_are_refused(shape):
    with pytest.raises(ValueError, match="at least 400 samples"):
        kaldi_fbank(torch.zeros(shape))
