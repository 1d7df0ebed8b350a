"""Pretrained encoders for training: waves to the encoder's input, and the input to tokens with gradients."""

from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from embedders.pretrained.beats import BEATsModel
from embedders.pretrained.beats_network import Layer, front_end
from embedders.pretrained.encoder import UNUSED, TransformersModel
from embedders.pretrained.frozen import TokenModel, open_encoder
from embedders.pretrained.lora import QUERY_AND_VALUE

AST = "audio-spectrogram-transformer"


class Trunk(Protocol):
    """An encoder whose network is an argument, so that copies of a model may have networks of their own."""

    model: TokenModel
    network: nn.Module

    def front(self, waves: Tensor) -> Tensor:
        """Compute the network's input of waves (batch, time): waves, or a spectrogram (batch, frequency, frame)."""
        ...

    def tokens(self, network: nn.Module, x: Tensor) -> Tensor:
        """Compute tokens of the last layer (batch, time, band, dim)."""
        ...

    def recompute(self) -> None:
        """Recompute activations inside layers in the backward pass: less memory, a third more time."""
        ...


class RecomputedLayer(Layer):
    """A layer of BEATs that saves its input only; same weights, names and outputs."""

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Transform tokens (batch, token, dim)."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x, bias)
        y: Tensor = checkpoint(super().forward, x, bias, use_reentrant=False)
        return y


class BEATsTrunk:
    """Trunk of BEATs."""

    def __init__(self, model: BEATsModel) -> None:
        self.model: BEATsModel = model
        self.network: nn.Module = model.network

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

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


class TransformersTrunk:
    """Trunk of an encoder of transformers.

    Its own random masking of inputs and dropping of layers are turned off; training augments by its own seed.
    """

    def __init__(self, model: TransformersModel) -> None:
        self.model: TransformersModel = model
        self.network: nn.Module = model.network
        for key, off in (("apply_spec_augment", False), ("layerdrop", 0.0)):
            if hasattr(model.network.config, key):
                setattr(model.network.config, key, off)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def front(self, waves: Tensor) -> Tensor:
        """Compute the features of the model's own feature extractor."""
        rate_hz = self.model.sample_rate_hz
        inputs = self.model.extractor(list(waves.cpu().numpy()), sampling_rate=rate_hz, return_tensors="pt")
        x: Tensor = inputs[self.model.network.main_input_name].to(waves.device)
        return x.transpose(1, 2) if self.model.model_type == AST else x

    def tokens(self, network: nn.Module, x: Tensor) -> Tensor:
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


TRUNKS: dict[type, type[Any]] = {BEATsModel: BEATsTrunk, TransformersModel: TransformersTrunk}


def open_trunk(spec: str, sample_rate_hz: int) -> Trunk:
    """Load an encoder for training by its spec; errors as in `open_encoder`, and ValueError for frozen-only ones."""
    model = open_encoder(spec, sample_rate_hz)
    if type(model) not in TRUNKS:
        raise ValueError(f"encoder={spec}: can only be used frozen; fine-tune BEATs or an encoder of transformers")
    trunk: Trunk = TRUNKS[type(model)](model)
    return trunk


def unfreeze(network: nn.Module) -> None:
    """Make all weights trainable, but those that do not affect the output."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[2] not in UNUSED)


def adapted_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the network's query and value projections."""
    linear = {name.rpartition(".")[2] for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    pairs = (QUERY_AND_VALUE, ("query", "value"))
    return next((pair for pair in pairs if linear.issuperset(pair)), QUERY_AND_VALUE)
