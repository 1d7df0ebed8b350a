"""`glow`: a normalising flow on patches of the log-mel, conditioned on the section.

Glow (Kingma and Dhariwal, NeurIPS 2018) with affine couplings, trained to make patches likely under their own section
and less likely under another section, as in Dohi et al., "Flow-based self-supervised density estimation
for anomalous sound detection", ICASSP 2021. The published system trains one flow per machine id; here one flow has a
learned code per section in its couplings. The vector of a clip is its log likelihood under every section; the detector
`posterior:score=likelihood` reads the column of its own.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.networks.frames import LogMelNet, patches, scaled
from embedders.networks.objectives.per_section import PerSection
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.trained import TrainedEmbedder
from embedders.spectrogram import MelConfig

LIMIT = 2.0  # of the log scale of a coupling


@dataclass(frozen=True, kw_only=True)
class GlowConfig(MelConfig):
    """A log-mel front end and its flow.

    seconds: length of training crops. patch: frames of a patch. step: frames from one patch to the next. levels: number
    of times that 2 x 2 values become 4 channels. flows: couplings per level. width: channels within a coupling. code:
    size of the code of a section. penalty: weight of the likelihood under a wrong section. margin: by this many nats
    per value a wrong section must be less likely than the own one; beyond it there is no penalty.
    """

    seconds: float = 10.0
    patch: int = 32
    step: int = 16
    levels: int = 3
    flows: int = 4
    width: int = 64
    code: int = 16
    penalty: float = 1.0
    margin: float = 0.5

    def __post_init__(self) -> None:
        """Check that patches can be halved, layers are not empty and weights are not negative."""
        super().__post_init__()
        least = 2 ** max(self.levels, 1)
        if self.levels < 1 or self.patch < least or self.patch % least or self.n_mels % least:
            raise ValueError(
                f"levels={self.levels}, patch={self.patch}, n_mels={self.n_mels}: expected at least 1 level, and "
                f"multiples of 2 ** levels"
            )
        if min(self.step, self.flows, self.width, self.code) < 1:
            raise ValueError(
                f"step={self.step}, flows={self.flows}, width={self.width}, code={self.code}: expected at least 1"
            )
        if not min(self.penalty, self.margin) >= 0:
            raise ValueError(f"penalty={self.penalty:g}, margin={self.margin:g}: expected 0 or more")

    @property
    def dim(self) -> int:
        """Values of a patch."""
        return self.n_mels * self.patch

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window; fewer frames than a patch are repeated."""
        return self.n_fft


class Flow(nn.Module):
    """One step: a scale and shift per channel, a rotation of the channels, and an affine coupling of their halves."""

    def __init__(self, channels: int, width: int, code: int) -> None:
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        self.rotation = nn.Parameter(rotation.contiguous())
        self.enter = nn.Conv2d(channels // 2, width, 3, padding=1)
        self.place = nn.Linear(code, width)
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), zeroed(width, channels))

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (n, channel, height, width); also the log determinant of the Jacobian (n,)."""
        x = (x + self.shift[:, None, None]) * self.log_scale.exp()[:, None, None]
        x = functional.conv2d(x, self.rotation[..., None, None])
        kept, changed = x.chunk(2, dim=1)
        log_scale, shift = self.coupling(kept, code)
        pixels = x.shape[2] * x.shape[3]
        constant = pixels * (self.log_scale.sum() + torch.linalg.slogdet(self.rotation).logabsdet)
        y = torch.cat([kept, changed * log_scale.exp() + shift], dim=1)
        return y, constant + log_scale.sum(dim=(1, 2, 3))

    def coupling(self, kept: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Log scale and shift of the other half of the channels."""
        raw, shift = self.leave(self.enter(kept) + self.place(code)[..., None, None]).chunk(2, dim=1)
        return LIMIT * torch.tanh(raw / LIMIT), shift


def zeroed(width: int, channels: int) -> nn.Conv2d:
    """A convolution that starts at zero, so that a coupling starts as the identity."""
    conv = nn.Conv2d(width, channels, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


class GlowNet(LogMelNet):
    """Log-mel and a code to the negative log likelihood of every clip, (batch, 1) in nats per value of a patch.

    The density is that of scaled values (`frames.scaled`); it is averaged over patches.
    """

    def __init__(self, config: GlowConfig) -> None:
        super().__init__(config)
        self.code_size = config.code
        channels = [4**level for level in range(1, config.levels + 1) for _ in range(config.flows)]
        self.flows = nn.ModuleList(Flow(n, config.width, config.code) for n in channels)

    def latent(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Latent values of patches (n, 1, mel, frame), whose density is a unit Gaussian, and log determinants (n,)."""
        total = x.new_zeros(len(x))
        for i, flow in enumerate(self.flows):
            if i % self.config.flows == 0:
                x = functional.pixel_unshuffle(x, 2)
            x, log_determinant = flow(x, code)
            total = total + log_determinant
        return x.flatten(1), total

    def forward(self, S: Tensor, code: Tensor) -> Tensor:
        """Return the negative log likelihood of every clip."""
        with torch.autocast(S.device.type, enabled=False):  # determinants need float32
            x = patches(scaled(S), self.config.patch, self.config.step, last=True)
            codes = code.float().repeat_interleave(x.shape[1], dim=0)
            z, log_determinant = self.latent(x.flatten(0, 1)[:, None], codes)
            nll = 0.5 * (z.square().mean(dim=1) + math.log(2 * math.pi)) - log_determinant / z.shape[1]
            return nll.view(len(S), -1).mean(dim=1, keepdim=True)

    def repel(self, own: Tensor, wrong: Tensor) -> Tensor:
        """What the wrong section lacks to be less likely by the margin."""
        return functional.relu(self.config.margin - (wrong - own)[:, 0])


class Glow(TrainedEmbedder):
    """Embedder: log likelihood under every section."""

    name: ClassVar[str] = "glow"
    code_version: ClassVar[int] = 2  # 2: frames left over at the end are one more patch
    config_type: ClassVar[type] = GlowConfig
    network_type: ClassVar[type[nn.Module]] = GlowNet
    objective_type: ClassVar[type[Reconstruct]] = PerSection
