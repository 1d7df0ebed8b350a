"""`transae`: a transformer that predicts a frame from its neighbours and classifies machines at its bottleneck.

IDC-TransAE (Guan et al., EURASIP JASMP 2023). The phase of the neighbours replaces a position encoding; the small
classifier on the bottleneck is the ID constraint. The views are those of `ae` and `idnn`; the published score is the
view `weighted`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embedders.losses.base import soft_cross_entropy
from embedders.networks.frames import SPREAD_DB, ContextConfig, contexts, scaled, without_middle
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.objective import Objective
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.trained import TrainedEmbedder
from embedders.spectrogram import log_mel


@dataclass(frozen=True, kw_only=True)
class TransAEConfig(ContextConfig):
    """heads, depth, feedforward: of encoder and decoder, which have width n_mels.

    id_weight: weight of the classifier's cross-entropy beside the mean squared error (in units of SPREAD_DB); 0 turns
    the constraint off, as in the published settings.
    """

    heads: int = 4
    depth: int = 2
    feedforward: int = 512
    id_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check that heads divide the mels and the weight is not negative."""
        super().__post_init__()
        if min(self.heads, self.depth, self.feedforward) < 1 or self.n_mels % self.heads:
            raise ValueError(
                f"heads={self.heads}, depth={self.depth}, feedforward={self.feedforward}: expected at least 1 of each "
                f"and heads that divide n_mels={self.n_mels}"
            )
        if not self.id_weight >= 0:
            raise ValueError(f"id_weight={self.id_weight}: expected 0 or more")


class TransAENet(nn.Module):
    """Log-mel and phase to the residual of the middle frame of every context: (batch, position, mel) in dB."""

    def __init__(self, config: TransAEConfig) -> None:
        super().__init__()
        self.config = config
        mels, neighbours = config.n_mels, config.context - 1
        self.place = nn.Sequential(
            nn.Linear(config.n_fft // 2 + 1, mels),
            nn.BatchNorm1d(neighbours),
            nn.Linear(mels, mels),
            nn.BatchNorm1d(neighbours),
        )
        layer = partial(
            nn.TransformerEncoderLayer, mels, config.heads, config.feedforward, dropout=0.0, batch_first=True
        )
        self.encoder = nn.Sequential(*(layer() for _ in range(config.depth)), nn.Linear(mels, config.bottleneck))
        self.decoder = nn.Sequential(nn.Linear(config.bottleneck, mels), *(layer() for _ in range(config.depth)))
        self.predict = nn.Linear(mels, mels)

    def front(self, waves: Tensor) -> Features:
        """Compute the log-mel (batch, mel, frame) in dB and the phase (batch, bin, frame) in radians."""
        c = self.config
        window = torch.hann_window(c.n_fft, device=waves.device)
        mode = c.pad_mode if c.center else "constant"
        spectrum = torch.stft(waves, c.n_fft, c.hop, window=window, center=c.center, pad_mode=mode, return_complex=True)
        return log_mel(waves, c).transpose(1, 2), spectrum.angle()

    def encode(self, S: Tensor, phase: Tensor) -> Tensor:
        """Encode the neighbours of every frame: (batch * position, neighbour, bottleneck)."""
        parts = (without_middle(contexts(x, self.config.context)).flatten(0, 1) for x in (scaled(S), phase))
        frames, angles = parts
        code: Tensor = self.encoder(frames + self.place(angles))
        return code

    def residual(self, code: Tensor, S: Tensor) -> Tensor:
        """Decode and return prediction minus middle frame."""
        predicted: Tensor = self.predict(self.decoder(code).mean(dim=1))
        middle = self.config.context // 2
        frames = scaled(S[:, :, middle : S.shape[2] - middle]).transpose(1, 2)
        return SPREAD_DB * (predicted.view(frames.shape) - frames)

    def forward(self, S: Tensor, phase: Tensor) -> Tensor:
        """Return the residuals of all positions with a complete context."""
        return self.residual(self.encode(S, phase), S)


class Constrained(Reconstruct):
    """Reconstruction with a classifier on the bottleneck."""

    def __init__(self, network: nn.Module, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__(network, dim, classes, loss)
        config: Any = network.config
        size = config.bottleneck
        self.classifier = nn.Sequential(
            nn.Linear(size, size), nn.LayerNorm(size), nn.ReLU(), nn.Linear(size, len(classes))
        )

    def logits(self, code: Tensor) -> Tensor:
        """Logits (rows, classes) of codes (rows, neighbour, bottleneck), pooled by mean plus maximum."""
        logits: Tensor = self.classifier(code.mean(dim=1) + code.amax(dim=1))
        return logits

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean squared error plus `id_weight` times the mean cross-entropy of all positions."""
        network: Any = self.network
        code = network.encode(*features)
        error: Tensor = (network.residual(code, features[0]).float() / SPREAD_DB).square().mean()
        if not network.config.id_weight:
            return error
        repeated = target.repeat_interleave(len(code) // len(target), dim=0)
        identity = soft_cross_entropy(self.logits(code).float(), repeated)
        return error + float(network.config.id_weight) * identity


class TransAE(TrainedEmbedder):
    """Embedder: residual views of the transformer."""

    name: ClassVar[str] = "transae"
    config_type: ClassVar[type] = TransAEConfig
    network_type: ClassVar[type[nn.Module]] = TransAENet
    objective_type: ClassVar[type[Reconstruct]] = Constrained

    @cached_property
    def model(self) -> Objective:
        """Network and objective, ready to embed; the number of classes follows from the weights."""
        last = self.trained.tensors.get("classifier.3.bias")
        classes = ("",) * (0 if last is None else len(last))
        return self.filled(classes)
