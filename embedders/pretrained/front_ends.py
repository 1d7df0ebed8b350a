"""Feature extractors of transformers as functions of a batch of waves, on the device of the waves.

The originals read one wave after another on the CPU (AST: about 17 ms per clip), and a GPU would wait for them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from embedders.pretrained.fbank import kaldi_fbank

RATE_HZ = 16000
VARIANCE_FLOOR = 1e-7

FrontEnd = Callable[[Any, Tensor], Tensor]
"""Function of a feature extractor, which holds the settings, and waves (batch, time): the network's input."""


def front_end_of(extractor: Any) -> FrontEnd | None:
    """Front end equal to a feature extractor; None if there is none, so the extractor must be called."""
    return FRONT_ENDS.get(type(extractor).__name__) if extractor.sampling_rate == RATE_HZ else None


def normalised(extractor: Any, waves: Tensor) -> Tensor:
    """Waves (batch, time), each scaled to mean 0 and standard deviation 1 if the extractor does so."""
    if not extractor.do_normalize:
        return waves
    variance, mean = torch.var_mean(waves, dim=1, correction=0, keepdim=True)
    return (waves - mean) / (variance + VARIANCE_FLOOR).sqrt()


def log_mel(extractor: Any, waves: Tensor) -> Tensor:
    """Kaldi's log-mel with a Hann window, padded with zero frames and scaled: (batch, frame, mel)."""
    S = kaldi_fbank(waves, n_mels=extractor.num_mel_bins, window_power=1.0)
    S = pad(S, (0, 0, 0, extractor.max_length - S.shape[1]))
    return (S - extractor.mean) / (2 * extractor.std) if extractor.do_normalize else S


FRONT_ENDS: dict[str, FrontEnd] = {"Wav2Vec2FeatureExtractor": normalised, "ASTFeatureExtractor": log_mel}
