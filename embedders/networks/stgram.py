"""`stgram`: log-mel and learned spectrogram-like channels into MobileFaceNet (STgram-MFN and its successors).

| channel | what it is                                                    | from                                   |
|---------|---------------------------------------------------------------|----------------------------------------|
| logmel  | log-mel spectrogram, dB                                       |                                        |
| tgram   | TgramNet: one large convolution of the wave, three small ones | Liu et al., ICASSP 2022                |
| tagram  | log-mel, each frame gated by its mean and maximum over mels   | Choi and Choi, ICASSP 2024             |
| tfgram  | dilated convolutions of the wave, pooled to the frames        | Huang et al., OS-SCL, ICASSP 2025      |
| fagram  | log-mel, each mel gated by self-attention over mels           | after Zhang et al., INTERSPEECH 2023   |
| tsgram  | log-mel, each frame gated by mean, maximum and deviation      | after Ma et al., ESTM, SPL 2025        |
| encoder | tokens of a frozen encoder (`encoder=`), mapped to the mels   | after Wang et al., APSIPA 2022         |

The dimensions of the last three were not published; they are ours. Nothing depends on the length of a clip: parameters
that the papers keep per frame (layer norm over time, the last kernel) are kept for `seconds` and interpolated.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.networks.encoder_channel import EncoderChannel
from embedders.networks.mobilefacenet import BOTTLENECKS, MobileFaceNet
from embedders.networks.trained import Features, TrainedEmbedder
from embedders.spectrogram import MelConfig, log_mel


@dataclass(frozen=True, kw_only=True)
class ChannelConfig(MelConfig):
    """A log-mel front end and the channels stacked on it.

    seconds: the clip length that per-frame weights are for. encoder: of the channel of that name, as a line of text
    such as wav2vec2=facebook/wav2vec2-base.
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
        """Refuse unknown channels and lengths."""
        super().__post_init__()
        unknown = [name for name in self.channels if name not in CHANNELS]
        if unknown or not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels={';'.join(self.channels)}: expected different names from {', '.join(CHANNELS)}")
        if ("encoder" in self.channels) != bool(self.encoder):
            raise ValueError(
                f"channels={';'.join(self.channels)}, encoder={self.encoder!r}: expected the channel encoder together "
                "with the encoder to use, such as encoder=wav2vec2=facebook/wav2vec2-base, or neither"
            )
        if not self.center:
            raise ValueError("center=false: the learned channels need frame k centred on sample k * hop; leave it true")
        if self.dim < 1 or not self.seconds * self.sample_rate_hz >= self.n_fft:
            raise ValueError(f"dim={self.dim}, seconds={self.seconds:g}: expected dim of 1 or more and a whole window")

    @property
    def frames(self) -> int:
        """Frames of a clip of `seconds`."""
        return round(self.seconds * self.sample_rate_hz) // self.hop + 1

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples."""
        return max(self.n_fft, self.tgram_window)


@dataclass(frozen=True, kw_only=True)
class STgramConfig(ChannelConfig):
    """bottlenecks: "slim" or "2021". head: "none", "projector" (CLP-SCF), "perturbation" (OS-SCL, unit length)."""

    bottlenecks: str = "slim"
    head: str = "none"

    def __post_init__(self) -> None:
        """Refuse unknown tables and heads."""
        super().__post_init__()
        for key, known in (("bottlenecks", BOTTLENECKS), ("head", HEADS)):
            if getattr(self, key) not in known:
                raise ValueError(f"unknown {key} {getattr(self, key)!r}; choose from {', '.join(known)}")


class Channels(nn.Module):
    """Waves and their log-mel to the stacked channels (batch, channel, mel, frame)."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict({name: CHANNELS[name](config) for name in config.channels})

    def front(self, waves: Tensor) -> Features:
        """The wave, and its log-mel (batch, mel, frame) in dB."""
        return waves, log_mel(waves, self.config).transpose(1, 2)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Every channel, in order."""
        return torch.stack([layer(waves, S) for layer in self.layers.values()], dim=1)


class STgramNet(nn.Module):
    """Stacked channels, MobileFaceNet, head: features to (batch, 1, dim)."""

    def __init__(self, config: STgramConfig) -> None:
        super().__init__()
        self.channels = Channels(config)
        self.trunk = MobileFaceNet(
            len(config.channels),
            bottlenecks=config.bottlenecks,
            mels=config.n_mels,
            frames=config.frames,
            dim=config.dim,
        )
        self.head = HEADS[config.head](config.dim)

    def front(self, waves: Tensor) -> Features:
        """Features without parameters."""
        return self.channels.front(waves)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """One branch."""
        z: Tensor = self.head(self.trunk(self.channels(waves, S)))
        return z[:, None]


class LogMelChannel(nn.Module):
    """The spectrogram itself."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Unchanged."""
        return S


class TimeNorm(nn.Module):
    """Layer norm along the time axis of (batch, channel, frame), whatever its length.

    Scale and offset are kept per frame of the configured length, as published, and interpolated to other lengths.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(frames))
        self.bias = nn.Parameter(torch.zeros(frames))

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance over time, then scale and offset."""
        weight, bias = self.weight, self.bias
        if x.shape[-1] != len(weight):
            weight, bias = F.interpolate(torch.stack([weight, bias])[None], size=x.shape[-1], mode="linear")[0]
        return F.layer_norm(x, x.shape[-1:], weight, bias)


class Tgram(nn.Module):
    """TgramNet: a bank of learned filters over the wave, and three convolutions over its frames."""

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
        """As many frames as the log-mel."""
        x: Tensor = self.encoder(self.filters(waves[:, None])[..., : S.shape[-1]])
        return x


class TAgram(nn.Module):
    """Log-mel with each frame weighted by the logistic of its mean plus its maximum over mels; no parameters."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Gated log-mel."""
        return S * torch.sigmoid(S.amax(dim=1, keepdim=True) + S.mean(dim=1, keepdim=True))


class TFgram(nn.Module):
    """Dilated convolutions over the wave at a fifth of its rate, pooled in three steps to the frames of the log-mel."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 64, 11, 5, 5, bias=False), nn.BatchNorm1d(64), nn.ReLU())
        self.blocks = nn.ModuleList([_dilated(64, 64), _dilated(64, 128), _dilated(128, config.n_mels)])

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """As many frames as the log-mel."""
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
    """Log-mel with each mel weighted by self-attention over mels; a mel's token is its mean, deviation and maximum."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.token = nn.Linear(3, 32)
        self.place = nn.Parameter(torch.randn(config.n_mels, 32) * 0.02)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.gate = nn.Linear(32, 1)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Gated log-mel."""
        statistics = torch.stack([S.mean(-1), S.std(-1, correction=0), S.amax(-1)], dim=-1) / 40  # dB to about one
        tokens = self.token(statistics) + self.place
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return S * torch.sigmoid(self.gate(tokens + attended))


class TSgram(nn.Module):
    """Log-mel with each frame weighted by a learned mix of three statistics over mels: mean, maximum, deviation."""

    def __init__(self, config: ChannelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 1)

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """Gated log-mel."""
        statistics = torch.stack([S.mean(1), S.amax(1), S.std(1, correction=0)], dim=-1) / 40
        return S * torch.sigmoid(self.gate(statistics)).transpose(1, 2)


CHANNELS: dict[str, type[nn.Module]] = {
    "logmel": LogMelChannel,
    "tgram": Tgram,
    "tagram": TAgram,
    "tfgram": TFgram,
    "fagram": FAgram,
    "tsgram": TSgram,
    "encoder": EncoderChannel,
}


class Perturbation(nn.Module):
    """OS-SCL's head: squeeze to half, expand, unit length."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        self.layers = nn.Sequential(
            nn.Linear(dim, half), nn.ReLU(), nn.BatchNorm1d(half), nn.Linear(half, dim), nn.ReLU(), nn.BatchNorm1d(dim)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Unit vectors."""
        return F.normalize(self.layers(z), dim=-1)


def _identity(dim: int) -> nn.Module:
    return nn.Identity()


def _projector(dim: int) -> nn.Module:
    """What CLP-SCF keeps of its projector after pre-training."""
    return nn.Sequential(nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim))


HEADS = {"none": _identity, "projector": _projector, "perturbation": Perturbation}


class STgram(TrainedEmbedder):
    """Embedding of a trained STgram network."""

    name: ClassVar[str] = "stgram"
    config_type: ClassVar[type] = STgramConfig
    network_type: ClassVar[type[nn.Module]] = STgramNet
