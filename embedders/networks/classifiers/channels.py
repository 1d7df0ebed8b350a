"""Spectrogram-like channels (batch, mel, frame) of a wave, stacked as the input of `stgram` and `tdnn`.

| channel | content                                                       | source                                 |
|---------|---------------------------------------------------------------|----------------------------------------|
| logmel  | log-mel spectrogram, dB                                       |                                        |
| tgram   | TgramNet: one large convolution of the wave, three small ones | Liu et al., ICASSP 2022                |
| tagram  | log-mel, each frame gated by its mean and maximum over mels   | Choi and Choi, ICASSP 2024             |
| tfgram  | dilated convolutions of the wave, pooled to the frames        | Huang et al., OS-SCL, ICASSP 2025      |
| fagram  | log-mel, each mel gated by self-attention over mels           | after Zhang et al., INTERSPEECH 2023   |
| tsgram  | log-mel, each frame gated by mean, maximum and deviation      | after Ma et al., ESTM, SPL 2025        |
| encoder | tokens of a frozen encoder (`encoder=`), mapped to the mels   | after Wang et al., APSIPA 2022         |

The papers do not give the sizes of the last three layers; the sizes here are our choice. Clips may have any length:
parameters that a paper keeps per frame (layer norm over time) are stored for `seconds` and interpolated.
"""

from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.objectives.names import Features
from embedders.pretrained.frozen import open_encoder, refuse_other_weights, weights_note
from embedders.spectrogram import MelConfig, log_mel

SCALE_DB = 40.0  # divides statistics in dB, so that gates get values of about 1


@dataclass(frozen=True, kw_only=True)
class ChannelConfig(MelConfig):
    """A log-mel front end and the stacked channels.

    seconds: clip length for which per-frame weights are stored. encoder: encoder of the channel `encoder`, such as
    wav2vec2=facebook/wav2vec2-base.
    """

    mel_scale: str = "htk"
    mel_norm: str = "none"
    pad_mode: str = "reflect"
    seconds: float = 10.0
    channels: tuple[str, ...] = ("logmel", "tgram")
    tgram_window: int = 1024
    encoder: str = ""
    dim: int = 128

    def __post_init__(self) -> None:
        """Check channels and lengths."""
        super().__post_init__()
        unknown = [name for name in self.channels if name not in CHANNELS]
        if unknown or not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels={';'.join(self.channels)}: expected distinct names from {', '.join(CHANNELS)}")
        if ("encoder" in self.channels) != bool(self.encoder):
            raise ValueError(
                f"channels={';'.join(self.channels)}, encoder={self.encoder!r}: the channel `encoder` and the setting "
                "encoder (such as encoder=wav2vec2=facebook/wav2vec2-base) need each other; give both or neither"
            )
        if not self.center:
            raise ValueError(
                "center=false: the learned channels need frame k centred on sample k * hop; use center=true"
            )
        if self.dim < 1 or not self.seconds * self.sample_rate_hz >= self.n_fft:
            raise ValueError(
                f"dim={self.dim}, seconds={self.seconds:g}: expected dim of at least 1 and at least n_fft={self.n_fft} "
                "samples"
            )

    @property
    def frames(self) -> int:
        """Frames of a clip of `seconds`."""
        return round(self.seconds * self.sample_rate_hz) // self.hop + 1

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples."""
        return max(self.n_fft, self.tgram_window)


class Channels(nn.Module):
    """Waves and their log-mel to stacked channels (batch, channel, mel, frame)."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict({name: CHANNELS[name](config) for name in config.channels})

    def front(self, waves: Tensor) -> Features:
        """The wave, and its log-mel (batch, mel, frame) in dB."""
        return waves, log_mel(waves, self.config).transpose(1, 2)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Stack the channels in the order of the config."""
        return torch.stack([layer(waves, S) for layer in self.layers.values()], dim=1)


class LogMelChannel(nn.Module):
    """The log-mel spectrogram."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return the log-mel unchanged."""
        return S


class TimeNorm(nn.Module):
    """Layer norm along the time axis of (batch, channel, frame), for any number of frames.

    Scale and offset are stored per frame of the configured length, as published, and interpolated to other lengths.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(frames))
        self.bias = nn.Parameter(torch.zeros(frames))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise to zero mean and unit variance over time, then scale and shift."""
        weight, bias = self.weight, self.bias
        if x.shape[-1] != len(weight):
            weight, bias = F.interpolate(torch.stack([weight, bias])[None], size=x.shape[-1], mode="linear")[0]
        return F.layer_norm(x, x.shape[-1:], weight, bias)


class Tgram(nn.Module):
    """TgramNet: learned filters over the wave, then three convolutions over its frames."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        mels, window = config.n_mels, config.tgram_window
        self.filters = nn.Conv1d(1, mels, window, config.hop, window // 2, bias=False)
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(
                    TimeNorm(config.frames), nn.LeakyReLU(0.2), nn.Conv1d(mels, mels, 3, padding=1, bias=False)
                )
                for _ in range(3)
            )
        )

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return as many frames as the log-mel has."""
        x: Tensor = self.encoder(self.filters(waves[:, None])[..., : S.shape[-1]])
        return x


class TAgram(nn.Module):
    """Log-mel with each frame multiplied by sigmoid(mean + maximum over mels); no parameters."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return the gated log-mel."""
        return S * torch.sigmoid(S.amax(dim=1, keepdim=True) + S.mean(dim=1, keepdim=True))


class TFgram(nn.Module):
    """Dilated convolutions of the wave at a fifth of its rate, max-pooled in three steps to the log-mel frames."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 64, 11, 5, 5, bias=False), nn.BatchNorm1d(64), nn.ReLU())
        self.blocks = nn.ModuleList([_dilated(64, 64), _dilated(64, 128), _dilated(128, config.n_mels)])

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return as many frames as the log-mel has."""
        first, second, third = self.blocks
        x = F.max_pool1d(first(self.stem(waves[:, None])), 4)
        x = F.adaptive_max_pool1d(second(x), 2 * S.shape[-1])
        return F.adaptive_max_pool1d(third(x), S.shape[-1])


def _dilated(width: int, out: int) -> nn.Sequential:
    convs = (
        nn.Conv1d(width, out, 3, padding=1, bias=False),
        nn.Conv1d(out, out, 3, padding=2, dilation=2, bias=False),
    )
    return nn.Sequential(*(layer for conv in convs for layer in (conv, nn.BatchNorm1d(out), nn.ReLU())))


class FAgram(nn.Module):
    """Log-mel with each mel gated by self-attention over mels; a mel's token is its mean, deviation and maximum."""

    def __init__(self, config: ChannelConfig) -> None:
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

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 1)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return the gated log-mel."""
        statistics = torch.stack([S.mean(1), S.amax(1), S.std(1, correction=0)], dim=-1) / SCALE_DB
        return S * torch.sigmoid(self.gate(statistics)).transpose(1, 2)


class _Encoder:
    """A frozen encoder kept out of the module's state dict and shared by copies of the module."""

    def __init__(self, spec: str, sample_rate_hz: int) -> None:
        self.spec = spec
        self.model = open_encoder(spec, sample_rate_hz)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def tokens(self, waves: Tensor) -> Tensor:
        """Tokens of the last layer with bands concatenated: (batch, time) to (batch, token, band * dim)."""
        longest = self.model.max_samples
        if longest and waves.shape[1] > longest:
            raise ValueError(
                f"encoder={self.spec}: reads at most {longest} samples, got {waves.shape[1]}; set seconds for training "
                "and --length crop:S for `featstore build`"
            )
        return self.model.tokens(waves, (self.model.n_layers,))[:, 0].flatten(2)


class EncoderChannel(nn.Module):
    """Tokens of the configured frozen encoder, mapped to mels by a linear layer and interpolated to frames.

    The mapping of the paper was not published. The checkpoint holds the sha256 of the encoder's weights, not the
    weights, and other weights are refused.
    """

    weights_sha256: Tensor

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.encoder = _Encoder(config.encoder, config.sample_rate_hz)
        model = self.encoder.model
        self.linear = nn.Linear(model.n_bands * model.dim, config.n_mels)
        self.register_buffer("weights_sha256", weights_note(model.weights_sha256))

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Return as many frames as the log-mel has."""
        with torch.no_grad():
            tokens = self.encoder.tokens(waves)
        return F.interpolate(self.linear(tokens).transpose(1, 2), size=S.shape[-1], mode="linear")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = self.encoder.model.weights_sha256
        refuse_other_weights(state_dict.get(f"{prefix}weights_sha256"), own, self.encoder.spec)
        cast(Any, super())._load_from_state_dict(state_dict, prefix, *args)


CHANNELS: dict[str, type[nn.Module]] = {
    "logmel": LogMelChannel,
    "tgram": Tgram,
    "tagram": TAgram,
    "tfgram": TFgram,
    "fagram": FAgram,
    "tsgram": TSgram,
    "encoder": EncoderChannel,
}
