"""Pretrained encoders for training: waves to the encoder's input, and the input to tokens with gradients."""

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from embedders.pretrained.beats import BEATsModel
from embedders.pretrained.beats_network import Layer, front_end
from embedders.pretrained.convolutional import mn04
from embedders.pretrained.encoder import UNUSED, TransformersModel
from embedders.pretrained.frozen import TokenModel, open_encoder
from embedders.pretrained.lora import is_pointwise

AST = "audio-spectrogram-transformer"
LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
FEATURE = re.compile(r"(?:^|\.)features\.(\d+)\.")
ADAPTS = {"qv": ("query", "value"), "qkv": ("query", "key", "value")}
"""Projections of attention that get adapters, by the setting `adapt`."""

SHORT = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
"""Their names in BEATs, wav2vec 2.0, HuBERT and WavLM; others write them in full."""


class Trunk(ABC):
    """An encoder whose network is an argument, so that copies of a model may have networks of their own."""

    model: TokenModel
    network: nn.Module

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @abstractmethod
    def front(self, waves: Tensor) -> Tensor:
        """Compute the network's input of waves (batch, time): waves, or a spectrogram (batch, frequency, frame)."""

    @abstractmethod
    def tokens(self, network: Any, x: Tensor) -> Tensor:
        """Compute tokens of the last layer (batch, time, band, dim)."""

    @abstractmethod
    def recompute(self) -> None:
        """Recompute activations inside layers in the backward pass: less memory, a third more time."""

    def adapted(self, adapt: str) -> tuple[str, ...]:
        """Names of the layers that get adapters, by a name in ADAPTS."""
        names = {name.rpartition(".")[2] for name, module in self.network.named_modules() if _is_linear(module)}
        full = ADAPTS[adapt]
        return full if names.issuperset(full) else tuple(SHORT[name] for name in full)

    def depth(self, name: str) -> int:
        """Layer of a parameter by its name, from 1; 0 for what precedes the layers."""
        layer = LAYER.search(name)
        return int(layer[1]) + 1 if layer else 0


class RecomputedLayer(Layer):
    """A layer of BEATs that saves its input only; same weights, names and outputs."""

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Transform tokens (batch, token, dim)."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x, bias)
        y: Tensor = checkpoint(super().forward, x, bias, use_reentrant=False)
        return y


class BEATsTrunk(Trunk):
    """Trunk of BEATs."""

    def __init__(self, model: BEATsModel) -> None:
        self.model: BEATsModel = model
        self.network: nn.Module = model.network

    def front(self, waves: Tensor) -> Tensor:
        """Compute the log-mel (batch, mel, frame)."""
        return front_end(waves).transpose(1, 2)

    def tokens(self, network: Any, x: Tensor) -> Tensor:
        """Compute tokens of the last layer."""
        last: Tensor = network.hidden_states(x.transpose(1, 2))[-1]
        return last.view(len(last), -1, self.model.n_bands, self.model.dim)

    def recompute(self) -> None:
        """Recompute activations inside layers."""
        for layer in self.model.network.encoder.layers:
            layer.__class__ = RecomputedLayer


class TransformersTrunk(Trunk):
    """Trunk of an encoder of transformers.

    Its own random masking of inputs and dropping of layers are turned off; training augments by its own seed.
    """

    def __init__(self, model: TransformersModel) -> None:
        self.model: TransformersModel = model
        self.network: nn.Module = model.network
        for key, off in (("apply_spec_augment", False), ("layerdrop", 0.0)):
            if hasattr(model.network.config, key):
                setattr(model.network.config, key, off)

    def front(self, waves: Tensor) -> Tensor:
        """Compute the features of the model's own feature extractor."""
        rate_hz = self.model.sample_rate_hz
        inputs = self.model.extractor(list(waves.cpu().numpy()), sampling_rate=rate_hz, return_tensors="pt")
        x: Tensor = inputs[self.model.network.main_input_name].to(waves.device)
        return x.transpose(1, 2) if self.model.model_type == AST else x

    def tokens(self, network: Any, x: Tensor) -> Tensor:
        """Compute tokens of the last layer."""
        out: Any = network(x.transpose(1, 2) if self.model.model_type == AST else x)
        return self.model.grid.arrange(out.last_hidden_state)

    def recompute(self) -> None:
        """Recompute activations inside layers; ValueError if the model does not support it."""
        network = self.model.network
        if not getattr(network, "supports_gradient_checkpointing", False):
            raise ValueError(
                f"recompute=true: {type(network).__name__} does not support it; remove it and reduce batch"
            )
        # renamed in transformers 5
        enable: Any = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
        enable({"use_reentrant": False})


class MN04Trunk(Trunk):
    """Trunk of mn04; adapters go to its pointwise convolutions, the stem is depth 0 and the final layer depth 16.

    Batch normalisation is folded into the convolutions in all modes, so its statistics remain those of AudioSet and
    the untrained network equals the frozen embedder. Statistics of batches of 8 clips would vary from step to step,
    and statistics over the training clips would change the features before the first step. What folding leaves of the
    normalisation, a scale and a shift per channel, is trained with the kernels in mode "full".
    """

    final: ClassVar[int] = 16

    def __init__(self, model: mn04.MN04Model) -> None:
        self.model: mn04.MN04Model = model
        self.network: nn.Module = model.network
        model.network.classifier = nn.Sequential()  # of AudioSet's classes; it does not affect the features

    def front(self, waves: Tensor) -> Tensor:
        """Compute the log-mel (batch, mel, frame)."""
        return mn04.front_end(waves)

    def tokens(self, network: Any, x: Tensor) -> Tensor:
        """Compute tokens of the final layer."""
        (last,) = network.states(x, (self.final,))
        tokens: Tensor = last.permute(0, 3, 2, 1)
        return tokens

    def recompute(self) -> None:
        """Refuse: the network is small."""
        raise ValueError("recompute=true: mn04 does not support it; remove it and reduce batch or seconds")

    def adapted(self, adapt: str) -> tuple[str, ...]:
        """Full names of the pointwise convolutions; ValueError for projections that mn04 lacks."""
        if adapt != "qv":
            raise ValueError(
                f"adapt={adapt}: mn04 has no attention; remove it: all pointwise convolutions get adapters"
            )
        return tuple(name for name, module in self.network.named_modules() if is_pointwise(module))

    def depth(self, name: str) -> int:
        """Feature layer of a parameter by its name, 0 for the stem."""
        layer = FEATURE.search(name)
        return int(layer[1]) if layer else 0


TRUNKS: dict[type, type[Any]] = {
    BEATsModel: BEATsTrunk,
    TransformersModel: TransformersTrunk,
    mn04.MN04Model: MN04Trunk,
}


def open_trunk(spec: str, sample_rate_hz: int) -> Trunk:
    """Load an encoder for training by its spec; errors as in `open_encoder`, and ValueError for frozen-only ones."""
    model = open_encoder(spec, sample_rate_hz)
    if type(model) not in TRUNKS:
        raise ValueError(
            f"encoder={spec}: can only be used frozen; fine-tune BEATs, mn04 or an encoder of transformers"
        )
    trunk: Trunk = TRUNKS[type(model)](model)
    return trunk


def unfreeze(network: nn.Module) -> None:
    """Make all weights trainable, but those that do not affect the output."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[2] not in UNUSED)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)
