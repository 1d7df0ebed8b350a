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

import torch
from torch import Tensor, nn

from embedders.networks.classifiers.gated_channels import FAgram, TAgram, TSgram
from embedders.networks.classifiers.wave_channels import EncoderChannel, TFgram, Tgram
from embedders.networks.objectives.names import Features
from embedders.spectrogram import MelConfig, log_mel


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


CHANNELS: dict[str, type[nn.Module]] = {
    "logmel": LogMelChannel,
    "tgram": Tgram,
    "tagram": TAgram,
    "tfgram": TFgram,
    "fagram": FAgram,
    "tsgram": TSgram,
    "encoder": EncoderChannel,
}
