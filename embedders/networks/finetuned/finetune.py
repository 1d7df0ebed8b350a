"""`finetune`: a pretrained encoder with a pooling and a linear head; all of it, adapters or the head alone is trained.

After AnoPatch (Jiang et al., INTERSPEECH 2024) and the adapted BEATs of ASDKit. A checkpoint holds the trained weights
and the sha256 of the encoder's weights; it does not hold the encoder, and loading refuses other encoder weights.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from embedders.networks.finetuned.head import ATTENTIVE, Head, check_pool
from embedders.networks.finetuned.trunk import ADAPTS, Trunk, open_trunk, unfreeze
from embedders.networks.objectives.classify import Classify
from embedders.networks.objectives.names import Features
from embedders.networks.trained import TrainedEmbedder
from embedders.pretrained.frozen import refuse_other_weights, weights_note, windows
from embedders.pretrained.lora import add_lora

MODES = ("lora", "full", "head")
POOLED = "pooled"
LONGEST_S = 30.0  # recordings are embedded in windows of at most this length


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


class FineTuneNet(nn.Module):
    """Encoder and head: features to (batch, 1, dim); the state dict leaves out frozen tensors of the encoder."""

    weights_sha256: Tensor

    def __init__(self, config: FineTuneConfig) -> None:
        super().__init__()
        if not config.encoder:
            raise ValueError(
                "encoder is missing: name the encoder to train, such as --set encoder=beats=BEATs_iter3.pt"
            )
        self.config, self.warmup = config, config.warmup
        self.trunk: Trunk = open_trunk(config.encoder, config.sample_rate_hz)
        model = self.trunk.model
        if model.min_samples > config.min_samples:
            raise ValueError(
                f"encoder={config.encoder}: needs waves of at least {model.min_samples} samples, more than the "
                f"supported {config.min_samples}; use another encoder"
            )
        self.sha256, self.longest = model.weights_sha256, model.max_samples
        self.n_layers = model.n_layers
        self.encoder = self.trunk.network
        if config.mode == "lora":
            add_lora(self.encoder, self.trunk.adapted(config.adapt), rank=config.rank)
        if config.mode == "full":
            unfreeze(self.encoder)
        if config.recompute:
            self.trunk.recompute()
        # Names, because the average of weights has requires_grad off everywhere.
        named = self.encoder.named_parameters(remove_duplicate=False)
        self.trained = {name for name, parameter in named if parameter.requires_grad}
        self.head = Head(config.pool, model.dim, model.n_bands, config.dim)
        self.register_buffer("weights_sha256", weights_note(self.sha256))

    def front(self, waves: Tensor) -> Features:
        """Compute the encoder's input."""
        if self.longest and waves.shape[1] > self.longest:
            raise ValueError(
                f"encoder={self.config.encoder}: reads at most {self.longest} samples, got {waves.shape[1]}; use "
                f"seconds={self.longest / self.config.sample_rate_hz:.4g} or less"
            )
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

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """All tensors but the encoder's frozen ones."""
        tensors = super().state_dict(*args, **kwargs)
        for name in self._frozen():
            del tensors[kwargs.get("prefix", "") + name]
        return tensors

    def _frozen(self) -> dict[str, Tensor]:
        return {f"encoder.{name}": x for name, x in self.encoder.state_dict().items() if name not in self.trained}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        refuse_other_weights(state_dict.get(f"{prefix}weights_sha256"), self.sha256, self.config.encoder)
        state_dict |= {prefix + name: value for name, value in self._frozen().items()}
        cast(Any, super())._load_from_state_dict(state_dict, prefix, *args)


class ClassifyTokens(Classify):
    """As Classify; also gives the pooled tokens before the head."""

    outputs: ClassVar[tuple[str, ...]] = (*Classify.outputs, POOLED)

    def vectors(self, features: Features, output: str) -> Tensor:
        """Vectors of an output, see Classify; "pooled" as `FineTuneNet.pooled`."""
        network = cast(FineTuneNet, self.network)
        return network.pooled(*features) if output == POOLED else super().vectors(features, output)


@dataclass(frozen=True, kw_only=True)
class FineTune(TrainedEmbedder):
    """Embedder: a fine-tuned encoder; recordings longer than its input are embedded as the mean over windows.

    output: also "pooled", the pooled tokens before batch norm and projection, with the views of the pooling.
    """

    name: ClassVar[str] = "finetune"
    config_type: ClassVar[type] = FineTuneConfig
    network_type: ClassVar[type[nn.Module]] = FineTuneNet
    objective_type: ClassVar[type[Classify]] = ClassifyTokens

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

    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape)."""
        longest = self._longest()
        if waves.ndim != 2 or waves.shape[1] <= longest:
            return super().embed(waves)
        parts = windows(torch.from_numpy(np.array(waves, dtype=np.float32, order="C")), longest)
        embeddings: np.ndarray = np.mean([super(FineTune, self).embed(part.numpy()) for part in parts], axis=0)
        return embeddings

    def _longest(self) -> int:
        """Samples embedded at once."""
        network: Any = self.model.network
        longest = round(LONGEST_S * self.sample_rate_hz)
        return min(longest, network.longest or longest)
