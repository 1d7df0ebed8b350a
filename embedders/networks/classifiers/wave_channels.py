"""Channels that are learned from the wave: `tgram` and `tfgram`, and tokens of a frozen `encoder` (see channels.py)."""

from typing import Any, Protocol, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.pretrained.frozen import open_encoder, refuse_other_weights, weights_note


class Sizes(Protocol):
    """What these layers read of a ChannelConfig."""

    @property
    def n_mels(self) -> int:
        """Rows of a channel."""
        ...

    @property
    def hop(self) -> int:
        """Samples between frames."""
        ...

    @property
    def frames(self) -> int:
        """Frames of a clip of the stored length."""
        ...

    @property
    def tgram_window(self) -> int:
        """Samples of a filter of TgramNet."""
        ...

    @property
    def encoder(self) -> str:
        """Encoder of the channel `encoder`."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waves."""
        ...


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

    def __init__(self, config: Sizes) -> None:
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


class TFgram(nn.Module):
    """Dilated convolutions of the wave at a fifth of its rate, max-pooled in three steps to the log-mel frames."""

    def __init__(self, config: Sizes) -> None:
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

    def __init__(self, config: Sizes) -> None:
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
