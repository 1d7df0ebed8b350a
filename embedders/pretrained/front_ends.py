"""What feature extractors of transformers do to waves, on the waves' device and for a whole batch at once.

Theirs read one wave after another on the CPU, where they would hold up a GPU: that of AST takes about 17 ms a clip.
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
"""An extractor, which holds the settings, and waves (batch, time) of equal length, to the network's input."""


def front_end_of(extractor: Any) -> FrontEnd | None:
    """The front end that equals a feature extractor; None where it has to be asked itself."""
    return FRONT_ENDS.get(type(extractor).__name__) if extractor.sampling_rate == RATE_HZ else None


def levelled(extractor: Any, waves: Tensor) -> Tensor:
    """Waves of mean 0 and deviation 1, each by itself, if the extractor makes them so: (batch, time)."""
    if not extractor.do_normalize:
        return waves
    variance, mean = torch.var_mean(waves, dim=1, correction=0, keepdim=True)
    return (waves - mean) / (variance + VARIANCE_FLOOR).sqrt()


def log_mel(extractor: Any, waves: Tensor) -> Tensor:
    """Kaldi's log-mel frames under a Hann window, zeros after the last frame, scaled: (batch, frame, mel)."""
    S = kaldi_fbank(waves, n_mels=extractor.num_mel_bins, window_power=1.0)
    S = pad(S, (0, 0, 0, extractor.max_length - S.shape[1]))
    return (S - extractor.mean) / (2 * extractor.std) if extractor.do_normalize else S


FRONT_ENDS: dict[str, FrontEnd] = {"Wav2Vec2FeatureExtractor": levelled, "ASTFeatureExtractor": log_mel}
