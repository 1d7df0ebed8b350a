"""Kaldi's log-mel filter bank in torch: the front end of BEATs, equal to `torchaudio.compliance.kaldi.fbank`.

Steps: frames of 25 ms every 10 ms without padding, mean removed, pre-emphasis 0.97, Povey window, power spectrum,
triangular filters on the mel scale from 20 Hz to half the sample rate, natural logarithm; no dither.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from featstore.mel import kaldi_mel, triangles

FRAME_S, HOP_S = 0.025, 0.010
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
POVEY_POWER = 0.85
FLOOR = torch.finfo(torch.float32).eps


def kaldi_fbank(
    waves: Tensor, *, n_mels: int = 128, sample_rate_hz: int = 16000, window_power: float = POVEY_POWER
) -> Tensor:
    """Log energy of mel filters: waves (batch, time) to (batch, frame, mel).

    Kaldi expects the range of 16-bit integers: multiply waves in [-1, 1] by 32768. window_power: exponent of the Hann
    window, 1 for a plain one. ValueError for waves shorter than one frame.
    """
    length, hop = round(FRAME_S * sample_rate_hz), round(HOP_S * sample_rate_hz)
    if waves.ndim != 2 or waves.shape[1] < length:
        raise ValueError(f"expected waves (batch, time) of at least {length} samples, got {tuple(waves.shape)}")
    frames = waves.unfold(-1, length, hop)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = (frames - PREEMPHASIS * previous) * _window(length, window_power).to(frames)
    n_fft = 1 << (length - 1).bit_length()
    power = torch.view_as_real(torch.fft.rfft(frames, n=n_fft)).square().sum(-1)
    filters = _mel_filters(n_mels, n_fft, sample_rate_hz).to(power)
    return (power[..., :-1] @ filters).clamp_(min=FLOOR).log_()


@lru_cache(maxsize=4)
def _window(length: int, power: float) -> Tensor:
    """Symmetric Hann window to a power; 0.85 gives the Povey window."""
    return torch.hann_window(length, periodic=False, dtype=torch.float64).pow(power).float()


@lru_cache(maxsize=4)
def _mel_filters(n_mels: int, n_fft: int, sample_rate_hz: int) -> Tensor:
    """Filters (n_fft // 2, mel): triangles in mel (not in Hz), peak 1, without the bin at half the sample rate."""
    low, high = kaldi_mel(np.array([LOWEST_HZ, sample_rate_hz / 2]))
    edges = low + (high - low) / (n_mels + 1) * np.arange(n_mels + 2)
    bins = kaldi_mel(np.arange(n_fft // 2) * sample_rate_hz / n_fft)
    return torch.from_numpy(triangles(bins, edges).T.astype(np.float32, order="C"))
