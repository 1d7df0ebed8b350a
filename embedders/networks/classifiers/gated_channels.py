"""Channels that gate the log-mel: `tagram` and `tsgram` each frame, `fagram` each mel (see channels.py)."""

import torch
from torch import Tensor, nn

from embedders.spectrogram import MelConfig

SCALE_DB = 40.0  # divides statistics in dB, so that gates get values of about 1


class TAgram(nn.Module):
    """Log-mel with each frame multiplied by sigmoid(mean + maximum over mels); no parameters."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return the gated log-mel."""
        return S * torch.sigmoid(S.amax(dim=1, keepdim=True) + S.mean(dim=1, keepdim=True))


class FAgram(nn.Module):
    """Log-mel with each mel gated by self-attention over mels; a mel's token is its mean, deviation and maximum."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.token = nn.Linear(3, 32)
        self.place = nn.Parameter(torch.randn(config.n_mels, 32) * 0.02)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.gate = nn.Linear(32, 1)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return the gated log-mel."""
        statistics = torch.stack([S.mean(-1), S.std(-1, correction=0), S.amax(-1)], dim=-1) / SCALE_DB
        tokens = self.token(statistics) + self.place
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return S * torch.sigmoid(self.gate(tokens + attended))


class TSgram(nn.Module):
    """Log-mel with each frame gated by a learned mix of its mean, maximum and deviation over mels."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 1)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return the gated log-mel."""
        statistics = torch.stack([S.mean(1), S.amax(1), S.std(1, correction=0)], dim=-1) / SCALE_DB
        return S * torch.sigmoid(self.gate(statistics)).transpose(1, 2)
