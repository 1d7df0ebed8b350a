"""Base of frozen encoders: windows of a recording to tokens, tokens pooled to views, weights in the fingerprint."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from embedders import create, fingerprint
from embedders.pretrained.pooling import pooling_of, pooling_text
from featstore.errors import DataError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class TokenModel(Protocol):
    """A loaded network and its properties.

    n_layers: number of layers; layer 0 is the input of the first. n_bands, dim: of the last layer. max_samples: longest
    wave it reads, or None. facts: the network's own configuration, as JSON values. Processes that only read waves make
    models too, so costly work, such as allocating device memory, must wait for a call of `tokens` or `weights_sha256`.
    """

    sample_rate_hz: int
    n_layers: int
    n_bands: int
    dim: int
    min_samples: int
    max_samples: int | None
    facts: Mapping[str, object]

    @property
    def weights_sha256(self) -> str:
        """Digest of names, shapes and values of all weights."""
        ...

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Compute float32 tokens (batch, layer, time, band, dim) of waves (batch, time); layers of one size only."""
        ...


@dataclass(frozen=True, kw_only=True)
class FrozenEncoder(ABC):
    """A pretrained network with fixed weights.

    checkpoint: file, folder or hub id of the weights. pool: mean, bands (a view per frequency band), flat (all bands in
    one view), stats (mean and standard deviation), rdp or gem (a view per band; rdp:gamma=4 and gem:p=3 by default).
    layers: hidden states to use, a view for each (0 is the input of the first layer); empty: the mean of the `last`
    hidden states. Where layers differ in size, the narrower views end in zeros. window_s: longer recordings are read in
    overlapping windows of this length, whose tokens are pooled together, because memory grows with the square of the
    length. precision: float32, or bfloat16 for the layers (fast on accelerators and on processors with bfloat16
    products).
    """

    name: ClassVar[str]
    checkpoint: str = ""
    pool: str = "mean"
    layers: tuple[int, ...] = ()
    last: int = 1
    window_s: float = 30.0
    precision: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check the values before weights are read."""
        pooling_of(self.pool)
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}")
        if self.layers and self.last != 1:
            raise ValueError("layers and last are both given; use layers for a view per layer, or last for their mean")
        if len(set(self.layers)) < len(self.layers) or self.last < 1 or not self.window_s > 0:
            raise ValueError(
                f"expected distinct layers, last of at least 1 and window_s > 0, got layers="
                f"{';'.join(map(str, self.layers)) or 'none'}, last={self.last}, window_s={self.window_s:g}"
            )

    @abstractmethod
    def load(self) -> TokenModel:
        """Find, read and check the weights; DataError says what is missing or wrong."""

    @cached_property
    def model(self) -> TokenModel:
        """The network, loaded on first use; DataError if it has fewer layers than chosen."""
        model = self.load()
        if max((*self.layers, self.last)) > model.n_layers or min((*self.layers, 0)) < 0:
            raise DataError(
                f"{self.name}: layers={';'.join(map(str, self.layers)) or 'none'}, last={self.last}: "
                f"the network of {self.checkpoint} has layers 0 to {model.n_layers}; choose from these"
            )
        return model

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waves the network was trained on."""
        return self.model.sample_rate_hz

    @property
    def min_samples(self) -> int:
        """Shortest wave that `embed` accepts, in samples."""
        return self.model.min_samples

    @property
    def views(self) -> tuple[str, ...]:
        """Names along the first axis of `shape`, per layer if layers are chosen; () if there is a single view."""
        pooling, names = pooling_of(self.pool), []
        for layer in self.layers or self._chosen_layers()[-1:]:
            pooled = pooling.views(self._grid(layer)[0])
            prefix = f"l{layer}" if self.layers else ""
            names += [".".join(filter(None, [prefix, view if len(pooled) > 1 else ""])) for view in pooled]
        return tuple(names) if len(names) > 1 else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one embedding: (views, width), or (width,) for a single view; the widest view sets the width."""
        width = max(pooling_of(self.pool).width(*self._grid(layer)) for layer in self._chosen_layers())
        return (len(self.views), width) if self.views else (width,)

    @property
    def config(self) -> Mapping[str, object]:
        """Every field but the device, file name and sha256 of the weights, and the network's facts, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "device"}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        named = {"checkpoint": Path(self.checkpoint).name, "weights_sha256": self.model.weights_sha256}
        return plain | named | {"pool": pooling_text(self.pool), "model": dict(self.model.facts)}

    @property
    def fingerprint(self) -> str:
        """Equal if and only if two encoders compute the same numbers, whatever the path and format of the weights."""
        config = {key: value for key, value in self.config.items() if key != "checkpoint"}
        return fingerprint(type(self).__name__, config, self.model.weights_sha256.encode())

    @torch.inference_mode()
    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape)."""
        layers = self._chosen_layers()
        if waves.ndim != 2 or waves.shape[1] < self.min_samples:
            raise ValueError(f"expected waves (batch, time) of at least {self.min_samples} samples, got {waves.shape}")
        if not len(waves):
            return np.empty((0, *self.shape), np.float32)
        batch = torch.from_numpy(np.array(waves, dtype=np.float32, order="C")).to(self.device)
        parts = [self._tokens(part, layers) for part in windows(batch, self._window())]
        tokens = [torch.cat(of_layer, dim=1) for of_layer in zip(*parts, strict=True)]
        if not self.layers:
            tokens = [torch.stack(tokens).mean(dim=0)]
        pooled = [pooling_of(self.pool).pool(of_layer) for of_layer in tokens]
        padded = torch.cat([pad(views, (0, self.shape[-1] - views.shape[-1])) for views in pooled], dim=1)
        embeddings: np.ndarray = padded.reshape(len(waves), *self.shape).float().cpu().numpy()
        return embeddings

    def _tokens(self, waves: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        """Tokens (batch, time, band, dim) of each layer; for models whose layers differ in size."""
        return list(self.model.tokens(waves, layers).unbind(dim=1))

    def _grid(self, layer: int) -> tuple[int, int]:
        """Bands and dim of a layer."""
        del layer
        return self.model.n_bands, self.model.dim

    def _chosen_layers(self) -> tuple[int, ...]:
        n_layers = self.model.n_layers
        return self.layers or tuple(range(n_layers - self.last + 1, n_layers + 1))

    def _window(self) -> int:
        """Samples read at once."""
        samples = max(round(self.window_s * self.sample_rate_hz), self.min_samples)
        return min(samples, self.model.max_samples or samples)


def windows(waves: Tensor, longest: int) -> list[Tensor]:
    """Cut waves (..., time) into the fewest evenly spaced windows of `longest` samples that cover them."""
    n = waves.shape[-1]
    if n <= longest:
        return [waves]
    count = math.ceil(n / longest)
    starts = [round(i * (n - longest) / (count - 1)) for i in range(count)]
    return [waves[..., start : start + longest] for start in starts]


def cast_weights(network: nn.Module, precision: str) -> nn.Module:
    """Convert weights of linear and convolution layers once, so that autocast need not convert them at every call.

    Weights that are computed from others, such as normalised ones, are not converted.
    """
    for module in network.modules():
        parameters = dict(module.named_parameters(recurse=False))
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and "weight" in parameters:
            module.to(PRECISIONS[precision])
    return network


def open_encoder(spec: str, sample_rate_hz: int) -> TokenModel:
    """Load a pretrained encoder by its spec, such as beats=PATH; ValueError for others or another sample rate."""
    encoder = create(spec)
    if not isinstance(encoder, FrozenEncoder):
        raise ValueError(f"encoder={spec}: expected a pretrained encoder, such as beats=BEATs_iter3.pt")
    if encoder.sample_rate_hz != sample_rate_hz:
        raise ValueError(
            f"encoder={spec}: reads {encoder.sample_rate_hz} Hz, the network {sample_rate_hz} Hz; set sample_rate_hz="
            f"{encoder.sample_rate_hz}"
        )
    return encoder.model


def weights_note(sha256: str) -> Tensor:
    """Digest of the encoder's weights (hex) as uint8 (32,), for checkpoints that do not hold these weights."""
    return torch.tensor(list(bytes.fromhex(sha256)), dtype=torch.uint8)


def refuse_other_weights(stated: Tensor | None, sha256: str, spec: str) -> None:
    """DataError if the digest in a checkpoint differs from that of the encoder's weights."""
    expected = sha256 if stated is None else bytes(stated.tolist()).hex()
    if expected != sha256:
        raise DataError(
            f"the network was trained with encoder weights of sha256 {expected[:12]}..., but {spec} has "
            f"{sha256[:12]}...; restore the former weights, or train again"
        )
