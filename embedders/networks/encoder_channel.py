"""A pretrained channel of `stgram` and `tdnn`: tokens of a frozen encoder, brought to mels and frames of the log-mel.

After USTC's third channel (Wang et al., APSIPA 2022), whose mapping was not published: here one linear layer, then
interpolation over time. The encoder's weights stay where they are; a checkpoint notes their sha256 and refuses others.
"""

from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedders.pretrained.frozen import open_encoder, refuse_other_weights, weights_note

if TYPE_CHECKING:
    from embedders.networks.stgram import ChannelConfig


class _Encoder:
    """A frozen encoder that is no part of the module around it, nor of its copies."""

    def __init__(self, spec: str, sample_rate_hz: int) -> None:
        self.spec = spec
        self.model = open_encoder(spec, sample_rate_hz)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def tokens(self, waves: Tensor) -> Tensor:
        """Tokens of the last layer, bands side by side: (batch, time) to (batch, token, band * dim)."""
        longest = self.model.max_samples
        if longest and waves.shape[1] > longest:
            raise ValueError(
                f"encoder={self.spec}: reads at most {longest} samples, got {waves.shape[1]}; set seconds, and build "
                "with --length crop:S"
            )
        return self.model.tokens(waves, (self.model.n_layers,))[:, 0].flatten(2)


class EncoderChannel(nn.Module):
    """Tokens of the encoder that the config names, through one linear layer."""

    weights_sha256: Tensor

    def __init__(self, config: "ChannelConfig") -> None:
        super().__init__()
        self.encoder = _Encoder(config.encoder, config.sample_rate_hz)
        model = self.encoder.model
        self.linear = nn.Linear(model.n_bands * model.dim, config.n_mels)
        self.register_buffer("weights_sha256", weights_note(model.weights_sha256))

    def forward(self, waves: Tensor, S: Tensor) -> Tensor:
        """As many frames as the log-mel."""
        with torch.no_grad():
            tokens = self.encoder.tokens(waves)
        return F.interpolate(self.linear(tokens).transpose(1, 2), size=S.shape[-1], mode="linear")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = self.encoder.model.weights_sha256
        refuse_other_weights(state_dict.get(f"{prefix}weights_sha256"), own, self.encoder.spec)
        cast(Any, super())._load_from_state_dict(state_dict, prefix, *args)
