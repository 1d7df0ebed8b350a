"""`finetune`: a pretrained encoder with a pooling and a linear head; all of it, adapters or the head alone is trained.

After AnoPatch (Jiang et al., INTERSPEECH 2024) and the adapted BEATs of ASDKit. A checkpoint holds the trained weights
and the sha256 of the encoder's weights; it does not hold the encoder, and loading refuses other encoder weights.
"""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from embedders.networks.finetuned.head import ATTENTIVE, Head, check_pool
from embedders.networks.finetuned.on_encoder import EncoderEmbedder, OnEncoder
from embedders.networks.finetuned.trunk import ADAPTS, unfreeze
from embedders.networks.objectives.classify import Classify
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.objective import Objective
from embedders.pretrained.lora import add_lora

MODES = ("lora", "full", "head")
POOLED = "pooled"


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """The encoder, what is trained of it, and the head.

    encoder: such as beats=BEATs_iter3.pt or wav2vec2=facebook/wav2vec2-base. mode: "lora" (adapters of `rank`), "full"
    (all weights) or "head" (encoder fixed); the head is always trained. adapt: where adapters are, "qv" (query and
    value) or "qkv"; in mn04 they are on the pointwise convolutions. pool: "attentive" (statistics), or a pooling of
    frozen encoders, such as mean or rdp:gamma=4. layer_decay: factor of the learning rate from each layer to the one
    below. warmup: steps over which the learning rate rises. recompute: recompute activations in the backward pass,
    which saves memory, if the encoder supports it.
    """

    encoder: str = ""
    mode: str = "lora"
    rank: int = 64
    adapt: str = "qv"
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
        check_pool(self.pool)
        for key, known in (("mode", MODES), ("adapt", tuple(ADAPTS))):
            if getattr(self, key) not in known:
                raise ValueError(f"unknown {key} {getattr(self, key)!r}; choose from {', '.join(known)}")
        if min(self.rank, self.dim) < 1 or self.warmup < 0 or not 0 < self.layer_decay <= 1 or not self.seconds > 0:
            raise ValueError(
                f"rank={self.rank}, dim={self.dim}, warmup={self.warmup}, layer_decay={self.layer_decay:g}, seconds="
                f"{self.seconds:g}: expected rank and dim of at least 1, warmup of at least 0, 0 < layer_decay <= 1 "
                "and seconds > 0"
            )


class FineTuneNet(OnEncoder):
    """Encoder and head: features to (batch, 1, dim); the state dict leaves out frozen tensors of the encoder."""

    def __init__(self, config: FineTuneConfig) -> None:
        super().__init__(config.encoder, config.sample_rate_hz, config.min_samples)
        self.config, self.warmup = config, config.warmup
        model = self.trunk.model
        self.n_layers = model.n_layers
        if config.mode == "lora":
            add_lora(self.encoder, self.trunk.adapted(config.adapt), rank=config.rank)
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
        return cast(Tensor, self.head(self._tokens(x)))[:, None]

    def pooled(self, x: Tensor) -> Tensor:
        """Pooled tokens, before batch norm and projection: (batch, d) or (batch, views, d)."""
        return self.head.pooled(self._tokens(x))

    def _tokens(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.mode != "head"):
            return self.trunk.tokens(self.encoder, x)

    def train(self, mode: bool = True) -> "FineTuneNet":
        """Set training mode; a fixed encoder stays in evaluation mode (no dropout)."""
        super().train(mode)
        self.encoder.train(mode and self.config.mode != "head")
        return self

    def rate_share(self, name: str) -> float:
        """Factor of the learning rate for a parameter: 1 for the head, times `layer_decay` per layer below it."""
        if not name.startswith("encoder."):
            return 1.0
        return float(self.config.layer_decay ** (self.n_layers + 1 - self.trunk.depth(name)))


class ClassifyTokens(Classify):
    """As Classify; also gives the pooled tokens before the head."""

    outputs: ClassVar[tuple[str, ...]] = (*Classify.outputs, POOLED)

    def vectors(self, features: Features, output: str) -> Tensor:
        """Vectors of an output, see Classify; "pooled" as `FineTuneNet.pooled`."""
        network = cast(FineTuneNet, self.network)
        return network.pooled(*features) if output == POOLED else super().vectors(features, output)


@dataclass(frozen=True, kw_only=True)
class FineTune(EncoderEmbedder):
    """Embedder: a fine-tuned encoder; recordings longer than its input are embedded as the mean over windows.

    output: also "pooled", the pooled tokens before batch norm and projection, with the views of the pooling.
    """

    name: ClassVar[str] = "finetune"
    config_type: ClassVar[type] = FineTuneConfig
    network_type: ClassVar[type[nn.Module]] = FineTuneNet
    objective_type: ClassVar[type[Objective]] = ClassifyTokens

    @property
    def views(self) -> tuple[str, ...]:
        """Names along the first axis of `shape`; () if there is a single view."""
        return self._head.views if self.output == POOLED else super().views

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one embedding: (d,) or (views, d)."""
        return self._head.shape if self.output == POOLED else super().shape

    @property
    def _head(self) -> Head:
        return cast(FineTuneNet, self.model.network).head
