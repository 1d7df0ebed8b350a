"""The BEATs transformer (Chen et al., "BEATs: Audio Pre-Training with Acoustic Tokenizers", ICML 2023), for inference.

Waves (batch, time) -> log-mel (batch, frame, 128) -> patches of 16 x 16 -> tokens (batch, time * band, dim), in which
bands vary fastest -> one hidden state per layer. Modules have the names of the official checkpoints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu, relu

from embedders.pretrained.beats_attention import Attention, position_buckets
from embedders.pretrained.fbank import kaldi_fbank

N_MELS = 128
FBANK_MEAN, FBANK_STD = 15.41663, 6.55582
FULL_SCALE = 2.0**15

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": gelu, "relu": relu, "tanh": torch.tanh}


@dataclass(frozen=True, kw_only=True)
class BEATsConfig:
    """The `cfg` of a checkpoint: all possible keys with the official defaults.

    Keys for training only (dropout, layer drop, gradient decay) are accepted and have no effect.
    """

    input_patch_size: int = 16
    embed_dim: int = 512
    conv_bias: bool = False
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    activation_fn: str = "gelu"
    layer_wise_gradient_decay_ratio: float = 1.0
    layer_norm_first: bool = False
    deep_norm: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    encoder_layerdrop: float = 0.0
    dropout_input: float = 0.0
    conv_pos: int = 128
    conv_pos_groups: int = 16
    relative_position_embedding: bool = False
    num_buckets: int = 320
    max_distance: int = 1280
    gru_rel_pos: bool = False
    finetuned_model: bool = False
    predictor_dropout: float = 0.1
    predictor_class: int = 527

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> "BEATsConfig":
        """Config of a checkpoint; ValueError names unknown keys and wrong values."""
        if not isinstance(cfg, Mapping):
            raise ValueError(f"`cfg`: expected a dict, got {type(cfg).__name__}")
        defaults = {field.name: field.default for field in fields(cls)}
        unknown = sorted(map(str, cfg.keys() - defaults.keys()))
        if unknown:
            raise ValueError(f"`cfg` has unknown keys: {', '.join(unknown)}; not a BEATs model, or a new kind of it")
        for key, value in cfg.items():
            kind = type(defaults[key])
            if type(value) not in ((int, float) if kind is float else (kind,)):
                raise ValueError(f"`cfg` has {key}={value!r}, expected {kind.__name__}")
        config = cls(**cfg)
        config._check()
        return config

    def _check(self) -> None:
        """ValueError if no network has these values."""
        if self.activation_fn not in ACTIVATIONS:
            raise ValueError(f"activation_fn {self.activation_fn!r}: expected one of {', '.join(ACTIVATIONS)}")
        if self.deep_norm and self.layer_norm_first:
            raise ValueError("deep_norm and layer_norm_first are both set; expected at most one of them")
        if self.input_patch_size < 1 or N_MELS % self.input_patch_size:
            raise ValueError(f"input_patch_size {self.input_patch_size}: expected a divisor of {N_MELS}")
        for parts in (self.encoder_attention_heads, self.conv_pos_groups):
            if parts < 1 or self.encoder_embed_dim % parts:
                raise ValueError(f"encoder_embed_dim {self.encoder_embed_dim}: expected a multiple of {parts}")


class PositionalConv(nn.Module):
    """Grouped convolution along the tokens; the kernel is stored as direction and length per tap (weight norm)."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.randn(dim, dim // groups, kernel) * (4 / (kernel * dim)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Convolve tokens (batch, token, dim); an even kernel covers one more token before than after."""
        weight = self.weight_g * self.weight_v / self.weight_v.norm(dim=(0, 1), keepdim=True)
        kernel = weight.shape[-1]
        out = conv1d(x.transpose(1, 2), weight, self.bias, padding=kernel // 2, groups=self.groups)
        return gelu(out[..., : x.shape[1]]).transpose(1, 2)


class Layer(nn.Module):
    """Attention and feed-forward network with residuals, normalised before or after (DeepNorm scales residuals up)."""

    def __init__(self, config: BEATsConfig, bias_table: nn.Embedding | None) -> None:
        super().__init__()
        dim = config.encoder_embed_dim
        self.self_attn = Attention(dim, config.encoder_attention_heads, bias_table, gated=config.gru_rel_pos)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, config.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_embed_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.activation = ACTIVATIONS[config.activation_fn]
        self.norm_first = config.layer_norm_first
        self.residual_scale = (2 * config.encoder_layers) ** 0.25 if config.deep_norm else 1.0

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Transform tokens (batch, token, dim)."""
        if self.norm_first:
            x = x + self.self_attn(self.self_attn_layer_norm(x), bias)
            return x + self._feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x * self.residual_scale + self.self_attn(x, bias))
        y: Tensor = self.final_layer_norm(x * self.residual_scale + self._feed_forward(x))
        return y

    def _feed_forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.activation(self.fc1(x)))
        return y


class Encoder(nn.Module):
    """Positional convolution, then the layers."""

    def __init__(self, config: BEATsConfig) -> None:
        super().__init__()
        self.config = config
        dim, heads = config.encoder_embed_dim, config.encoder_attention_heads
        self.pos_conv = nn.Sequential(PositionalConv(dim, config.conv_pos, config.conv_pos_groups))
        # All layers share one table. As in the official module, each layer registers and saves it.
        table = nn.Embedding(config.num_buckets, heads) if config.relative_position_embedding else None
        self.layers = nn.ModuleList(Layer(config, table) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Hidden states of tokens: the input of the first layer, then the output of each layer."""
        x = x + self.pos_conv(x)
        if not self.config.layer_norm_first:
            x = self.layer_norm(x)
        bias = self._bias(x.shape[1])
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], bias))
        if self.config.layer_norm_first:
            states[-1] = self.layer_norm(states[-1])
        return states

    def _bias(self, n_tokens: int) -> Tensor | None:
        """Position bias of each head: (head, token, token)."""
        table = cast(Layer, self.layers[0]).self_attn.relative_attention_bias
        if table is None:
            return None
        buckets = position_buckets(n_tokens, self.config.num_buckets, self.config.max_distance)
        values: Tensor = table(buckets.to(table.weight.device))
        return values.permute(2, 0, 1).contiguous()


class BEATsNetwork(nn.Module):
    """Waves to hidden states of all layers; a fine-tuned model also has the classifier `predictor`."""

    def __init__(self, config: BEATsConfig) -> None:
        super().__init__()
        self.config = config
        size, embed, dim = config.input_patch_size, config.embed_dim, config.encoder_embed_dim
        self.patch_embedding = nn.Conv2d(1, embed, kernel_size=size, stride=size, bias=config.conv_bias)
        self.layer_norm = nn.LayerNorm(embed)
        self.post_extract_proj = nn.Linear(embed, dim) if embed != dim else None
        self.encoder = Encoder(config)
        self.predictor = nn.Linear(dim, config.predictor_class) if config.finetuned_model else None

    def forward(self, waves: Tensor) -> list[Tensor]:
        """Hidden states (batch, time * band, dim) of waves (batch, time) in [-1, 1] at 16 kHz, input first."""
        return self.hidden_states(front_end(waves))

    def hidden_states(self, S: Tensor) -> list[Tensor]:
        """Hidden states of normalised log-mels (batch, frame, 128); frames after the last whole patch are dropped."""
        x = self.patch_embedding(S[:, None]).flatten(2).transpose(1, 2)
        x = self.layer_norm(x)
        if self.post_extract_proj is not None:
            x = self.post_extract_proj(x)
        states: list[Tensor] = self.encoder(x)
        return states


def front_end(waves: Tensor) -> Tensor:
    """Log-mel that BEATs was trained on: waves (batch, time) in [-1, 1] at 16 kHz to (batch, frame, 128)."""
    return (kaldi_fbank(waves * FULL_SCALE, n_mels=N_MELS) - FBANK_MEAN) / (2 * FBANK_STD)
