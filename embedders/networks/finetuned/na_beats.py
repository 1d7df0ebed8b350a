"""`na_beats`: a frozen encoder of the near channel, corrected after every layer by attention to the far channel.

After NA-BEATs, the winner of DCASE 2026 Task 2 (arXiv 2608.00447, 2607.16688). Clean recordings are rendered into
simulated rooms with noise, and the corrections are trained so that the tokens of the noisy near channel match those of
the clean near sound. A checkpoint holds the corrections and the sha256 of the encoder's weights.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.finetuned.cross_attention import CrossAttention, after_layers, layers_of
from embedders.networks.finetuned.on_encoder import EncoderEmbedder, OnEncoder
from embedders.networks.objectives.match import Match
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.objective import Objective
from embedders.networks.objectives.scenes import Scenes
from embedders.pretrained.pooling import pooling_of


@dataclass(frozen=True, kw_only=True)
class NABeatsConfig:
    """The encoder, the corrections, the pooling of corrected tokens, and the scenes of the training.

    encoder: such as beats=BEATs_iter3.pt. dim, heads: width of the attention, and into how many heads it is divided.
    pool: as of the frozen encoders, such as mean, bands or rdp:gamma=4. warmup: steps over which the learning rate
    rises. rooms, noise_sources, leak_db, snr_db: see `objectives.scenes`; the last two are the least and the greatest
    value in dB.
    """

    encoder: str = ""
    dim: int = 768
    heads: int = 12
    pool: str = "mean"
    warmup: int = 0
    rooms: int = 48
    noise_sources: int = 2
    leak_db: tuple[float, ...] = (-15.0, -6.0)
    snr_db: tuple[float, ...] = (-10.0, 10.0)
    seconds: float = 10.0
    sample_rate_hz: int = 16000
    min_samples: ClassVar[int] = 2800
    """One patch of BEATs; other encoders need less."""

    def __post_init__(self) -> None:
        """Check the values; an empty encoder is accepted, so that settings can be read without one."""
        pooling_of(self.pool)
        if min(self.dim, self.heads) < 1 or self.dim % self.heads:
            raise ValueError(f"dim={self.dim}, heads={self.heads}: expected a dim that is a multiple of heads")
        if self.warmup < 0 or not self.seconds > 0 or self.rooms < 1 or not 1 <= self.noise_sources <= 8:
            raise ValueError(
                f"warmup={self.warmup}, seconds={self.seconds:g}, rooms={self.rooms}, noise_sources="
                f"{self.noise_sources}: expected warmup of at least 0, seconds > 0, rooms of at least 1 and 1 to 8 "
                "noise_sources"
            )
        for key in ("leak_db", "snr_db"):
            values = getattr(self, key)
            if len(values) != 2 or not -80 <= values[0] <= values[1] <= 80:
                text = ";".join(f"{value:g}" for value in values)
                raise ValueError(
                    f"{key}={text}: expected the least and the greatest value, from -80 to 80, such as {key}=-15;-6"
                )


class NABeatsNet(OnEncoder):
    """Frozen encoder and a correction after each of its layers: pairs (batch, 2, time) to pooled corrected tokens."""

    def __init__(self, config: NABeatsConfig) -> None:
        super().__init__(config.encoder, config.sample_rate_hz, config.min_samples)
        self.config, self.warmup = config, config.warmup
        model = self.trunk.model
        layers = layers_of(self.encoder, model.n_layers)
        self.corrections = nn.ModuleList(CrossAttention(model.dim, config.dim, config.heads) for _ in layers)
        self.scenes = Scenes(config.sample_rate_hz, config.rooms, config.noise_sources, config.leak_db, config.snr_db)
        self.seed = int(torch.randint(2**31, ()))  # of the rooms: follows from the seed of the training

    def front(self, waves: Tensor) -> Features:
        """Return the waves: clean ones (batch, time) in training, recorded pairs (batch, 2, time) otherwise."""
        self.refuse_longer(waves)
        return (waves,)

    def forward(self, waves: Tensor) -> Tensor:
        """Embed pairs (batch, 2, time): (batch, width), or (batch, view, width) of a pooling with several views."""
        pooled = pooling_of(self.config.pool).pool(self.tokens(waves).float())
        return pooled if pooled.shape[1] > 1 else pooled[:, 0]

    def render(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy pairs (batch, 2, time) and clean near waves of clean waves (batch, time).

        In training all is drawn by torch's generator, which is seeded per step. In evaluation, scenes and rooms are
        always the same, and rooms are others than those of the training.
        """
        seed = int(torch.randint(2**31, ())) if self.training else self.seed
        rng = torch.Generator().manual_seed(seed)
        with torch.autocast(waves.device.type, enabled=False):
            return self.scenes.render(waves.float(), rng, self.seed + (not self.training))

    def tokens(self, waves: Tensor) -> Tensor:
        """Corrected tokens (batch, time, band, dim) of the near channel of pairs (batch, 2, time)."""
        near, far = waves.unbind(dim=1)
        states: list[Tensor] = []

        def note(i: int, x: Tensor) -> Tensor:
            states.append(x)
            return x

        def corrected(i: int, x: Tensor) -> Tensor:
            correction: Tensor = self.corrections[i](x, states[i])
            return x + correction

        layers = layers_of(self.encoder, len(self.corrections))
        with torch.no_grad(), after_layers(layers, note):
            self.clean_tokens(far)
        with after_layers(layers, corrected):
            return self.clean_tokens(near)

    def clean_tokens(self, waves: Tensor) -> Tensor:
        """Tokens (batch, time, band, dim) of waves (batch, time) without corrections."""
        with torch.autocast(waves.device.type, enabled=False):
            x = self.trunk.front(waves)
        return self.trunk.tokens(self.encoder, x)

    def train(self, mode: bool = True) -> "NABeatsNet":
        """Set training mode; the encoder stays in evaluation mode (no dropout)."""
        super().train(mode)
        self.encoder.eval()
        return self


@dataclass(frozen=True, kw_only=True)
class NABeats(EncoderEmbedder):
    """Embedder of near and far together: pooled tokens of the near channel, corrected by the far one."""

    name: ClassVar[str] = "na_beats"
    config_type: ClassVar[type] = NABeatsConfig
    network_type: ClassVar[type[nn.Module]] = NABeatsNet
    objective_type: ClassVar[type[Objective]] = Match
    n_channels: ClassVar[int] = 2

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the pooling's views; () if there is a single one."""
        names = pooling_of(self.settings.pool).views(self._encoder.n_bands)
        return names if len(names) > 1 else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one embedding: (width,), or (views, width)."""
        width = pooling_of(self.settings.pool).width(self._encoder.n_bands, self._encoder.dim)
        return (len(self.views), width) if self.views else (width,)

    @property
    def _encoder(self) -> Any:
        """The model of the encoder."""
        network: Any = self.model.network
        return network.trunk.model
