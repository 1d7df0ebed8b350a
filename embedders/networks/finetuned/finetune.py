"""`finetune`: a pretrained encoder with a pooling and a linear head; all of it, adapters or the head alone is trained.

After AnoPatch (Jiang et al., INTERSPEECH 2024) and the adapted BEATs of ASDKit. A checkpoint holds the trained weights
and the sha256 of the encoder's weights; it does not hold the encoder, and loading refuses other encoder weights.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.finetuned.on_encoder import EncoderEmbedder, OnEncoder
from embedders.networks.objectives.names import Features
from embedders.pretrained.lora import add_lora
from embedders.pretrained.pooling import POOLINGS, AttentiveStatistics
from embedders.pretrained.trunk import adapted_names, unfreeze

MODES = ("lora", "full", "head")
ATTENTIVE = "attentive"
LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """The encoder, what is trained of it, and the head.

    encoder: such as beats=BEATs_iter3.pt or wav2vec2=facebook/wav2vec2-base. mode: "lora" (adapters of `rank` on query
    and value), "full" (all weights) or "head" (encoder fixed); the head is always trained. pool: "attentive"
    (statistics), "mean", "stats", "bands" or "flat". layer_decay: factor of the learning rate from each layer to the
    one below. warmup: steps over which the learning rate rises. recompute: recompute activations in the backward pass,
    which saves memory, if the encoder supports it.
    """

    encoder: str = ""
    mode: str = "lora"
    rank: int = 64
    pool: str = ATTENTIVE
    dim: int = 256
    layer_decay: float = 1.0
    warmup: int = 0
    recompute: bool = False
    seconds: float = 10.0
    sample_rate_hz: int = 16000
    min_samples: ClassVar[int] = 2800
    """One patch of BEATs; other encoders need less."""

    def __post_init__(self) -> None:
        """Check the values; an empty encoder is accepted, so that settings can be read without one."""
        for key, known in (("mode", MODES), ("pool", (ATTENTIVE, *POOLINGS))):
            if getattr(self, key) not in known:
                raise ValueError(f"unknown {key} {getattr(self, key)!r}; choose from {', '.join(known)}")
        if min(self.rank, self.dim) < 1 or self.warmup < 0 or not 0 < self.layer_decay <= 1 or not self.seconds > 0:
            raise ValueError(
                f"rank={self.rank}, dim={self.dim}, warmup={self.warmup}, layer_decay={self.layer_decay:g}, seconds="
                f"{self.seconds:g}: expected rank and dim of at least 1, warmup of at least 0, 0 < layer_decay <= 1 "
                "and seconds > 0"
            )


class Head(nn.Module):
    """Pooling, batch norm and a linear layer: tokens (batch, time, band, dim) to (batch, out)."""

    def __init__(self, pool: str, dim: int, n_bands: int, out: int) -> None:
        super().__init__()
        self.pool = pool
        self.attentive = AttentiveStatistics(dim) if pool == ATTENTIVE else None
        pooling = POOLINGS.get(pool)
        width = len(pooling.views(n_bands)) * pooling.width(n_bands, dim) if pooling else 2 * dim
        self.norm = nn.BatchNorm1d(width)
        self.project = nn.Linear(width, out)

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute in float32, because standard deviations lose precision in bfloat16."""
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            if self.attentive is not None:
                pooled = self.attentive(tokens.flatten(1, 2))
            else:
                pooled = POOLINGS[self.pool].pool(tokens).flatten(1)
            z: Tensor = self.project(self.norm(pooled))
        return z


class FineTuneNet(OnEncoder):
    """Encoder and head: features to (batch, 1, dim); the state dict leaves out frozen tensors of the encoder."""

    def __init__(self, config: FineTuneConfig) -> None:
        super().__init__(config.encoder, config.sample_rate_hz, config.min_samples)
        self.config, self.warmup = config, config.warmup
        model = self.trunk.model
        self.n_layers = model.n_layers
        if config.mode == "lora":
            add_lora(self.encoder, adapted_names(self.encoder), rank=config.rank)
        if config.mode == "full":
            unfreeze(self.encoder)
        if config.recompute:
            self.trunk.recompute()
        self.note_trained()
        self.head = Head(config.pool, model.dim, model.n_bands, config.dim)

    def front(self, waves: Tensor) -> Features:
        """Compute the encoder's input."""
        self.refuse_longer(waves)
        return (self.trunk.front(waves),)

    def forward(self, x: Tensor) -> Tensor:
        """Return one branch."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.mode != "head"):
            tokens = self.trunk.tokens(self.encoder, x)
        z: Tensor = self.head(tokens)
        return z[:, None]

    def train(self, mode: bool = True) -> "FineTuneNet":
        """Set training mode; a fixed encoder stays in evaluation mode (no dropout)."""
        super().train(mode)
        self.encoder.train(mode and self.config.mode != "head")
        return self

    def rate_share(self, name: str) -> float:
        """Factor of the learning rate for a parameter: 1 for the head, times `layer_decay` per layer below it."""
        if not name.startswith("encoder."):
            return 1.0
        layer = LAYER.search(name)
        depth = int(layer[1]) + 1 if layer else 0
        return float(self.config.layer_decay ** (self.n_layers + 1 - depth))


@dataclass(frozen=True, kw_only=True)
class FineTune(EncoderEmbedder):
    """Embedder: a fine-tuned encoder; recordings longer than its input are embedded as the mean over windows."""

    name: ClassVar[str] = "finetune"
    config_type: ClassVar[type] = FineTuneConfig
    network_type: ClassVar[type[nn.Module]] = FineTuneNet
