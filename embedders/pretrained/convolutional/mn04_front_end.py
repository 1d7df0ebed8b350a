"""The log-mel spectrogram that mn04 was trained on, in torch."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from featstore.mel import kaldi_mel, triangles

RATE_HZ = 32000
N_FFT, WINDOW, HOP = 1024, 800, 320
N_MELS = 128
HIGHEST_HZ = 15000.0
PREEMPHASIS = 0.97
FLOOR = 1e-5
SHIFT, SCALE = 4.5, 5.0
MIN_SAMPLES = N_FFT + 1
"""Shortest wave: one Fourier transform after pre-emphasis, which shortens a wave by one sample."""


def log_mel(waves: Tensor) -> Tensor:
    """Waves (batch, time) in [-1, 1] at 32 kHz to (batch, mel, frame); ValueError for waves shorter than MIN_SAMPLES.

    Steps: pre-emphasis, power of centred frames of 25 ms every 10 ms (ends reflected), mel filters, natural logarithm,
    scaled.
    """
    if waves.ndim != 2 or waves.shape[1] < MIN_SAMPLES:
        raise ValueError(f"expected waves (batch, time) of at least {MIN_SAMPLES} samples, got {tuple(waves.shape)}")
    emphasised = torch.sub(waves[:, 1:], waves[:, :-1], alpha=PREEMPHASIS)
    half = N_FFT // 2
    padded = torch.nn.functional.pad(emphasised[:, None], (half, half), mode="reflect")[:, 0]
    # The window covers the middle of each frame; its first and last samples are multiplied by zero.
    frames = padded.unfold(-1, N_FFT, HOP) * _window().to(waves)
    power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)
    S = (power[..., :-1] @ _filters().to(power)).add_(FLOOR).log_()
    return S.add_(SHIFT).div_(SCALE).transpose(1, 2)


@lru_cache(maxsize=1)
def _window() -> Tensor:
    """Symmetric Hann window in the middle of N_FFT samples."""
    side = (N_FFT - WINDOW) // 2
    return torch.nn.functional.pad(torch.hann_window(WINDOW, periodic=False), (side, side))


@lru_cache(maxsize=1)
def _filters() -> Tensor:
    """Mel filters (N_FFT // 2, mel): triangles in mel with peak 1; the bin at half the sample rate is not used."""
    low, high = kaldi_mel(np.array([0.0, HIGHEST_HZ]))
    edges = low + (high - low) / (N_MELS + 1) * np.arange(N_MELS + 2)
    bins = kaldi_mel(np.arange(N_FFT // 2) * RATE_HZ / N_FFT)
    return torch.from_numpy(triangles(bins, edges).T.astype(np.float32, order="C"))
