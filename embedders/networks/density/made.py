"""`made`: the likelihood of log-mel frames by a masked autoencoder over groups of mel bands (Group MADE).

MADE (Germain et al., ICML 2015) with groups in place of single values, as in Giri et al., "Group masked autoencoder
based density estimator for audio anomaly detection", DCASE 2020 Workshop. The values of some neighbouring frames are
ordered by frame, then by band, and cut into groups; each group is predicted from all groups before it.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.networks.frames import LogMelNet, contexts, gaussian, log_density, scaled
from embedders.networks.objectives.likelihood import Likelihood
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.trained import TrainedEmbedder
from embedders.spectrogram import MelConfig


@dataclass(frozen=True, kw_only=True)
class MADEConfig(MelConfig):
    """A log-mel front end and its density.

    seconds: length of training crops. context: frames of one input. bands: mels of a group. width, depth: of the hidden
    layers. mixtures: Gaussians per value.
    """

    seconds: float = 10.0
    context: int = 5
    bands: int = 16
    width: int = 512
    depth: int = 2
    mixtures: int = 1

    def __post_init__(self) -> None:
        """Check that there are two groups or more and no layer is empty."""
        super().__post_init__()
        if min(self.context, self.bands, self.width, self.depth, self.mixtures) < 1 or self.n_mels % self.bands:
            raise ValueError(
                f"context={self.context}, bands={self.bands}, width={self.width}, depth={self.depth}, mixtures="
                f"{self.mixtures}: expected at least 1 of each and bands that divide n_mels={self.n_mels}"
            )
        if self.context * self.n_mels == self.bands:
            raise ValueError(f"context={self.context}, bands={self.bands}: expected two groups or more; reduce bands")

    @property
    def dim(self) -> int:
        """Columns of each view."""
        return self.n_mels

    @property
    def min_samples(self) -> int:
        """Shortest wave in samples: one window and the frames of one context."""
        return self.n_fft + (self.context - 1) * self.hop


class MaskedLinear(nn.Linear):
    """A linear layer in which output o depends on input i only where mask[o, i]."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs)."""
        return functional.linear(input, self.weight * self.mask, self.bias)


def masked_layers(group: Tensor, width: int, depth: int, outputs: int) -> nn.Sequential:
    """Masked layers for values of the given groups 0 to g - 1, to `outputs` per value; outputs see earlier groups only.

    Hidden units have degrees 0 to g - 2 in equal numbers; a unit of degree k sees groups up to k.
    """
    degree = torch.arange(width) * int(group.max()) // width
    degrees = [group, *[degree] * depth]
    layers: list[nn.Module] = []
    for before, after in pairwise(degrees):
        layers += [MaskedLinear(after[:, None] >= before), nn.ReLU()]
    return nn.Sequential(*layers, MaskedLinear(group.repeat_interleave(outputs)[:, None] > degree))


class MADENet(LogMelNet):
    """Log-mel to negative log likelihoods of every value of every context: (batch, position * context, mel) in nats.

    The density is that of scaled values (`frames.scaled`).
    """

    def __init__(self, config: MADEConfig) -> None:
        super().__init__(config)
        group = torch.arange(config.context * config.n_mels) // config.bands
        self.outputs = 3 * config.mixtures - 1  # means, spreads, and weights relative to the first
        self.layers = masked_layers(group, config.width, config.depth, self.outputs)

    def nll(self, x: Tensor) -> Tensor:
        """Negative log likelihood of every value of rows (rows, values), given the groups before it."""
        k = self.config.mixtures
        parameters = self.layers(x).view(*x.shape, self.outputs).float()
        mean, spread, weight = parameters.split([k, k, k - 1], dim=2)
        log_weight = functional.pad(weight, (1, 0)).log_softmax(dim=2)
        joint = log_weight + log_density(gaussian(mean, spread), x[..., None])
        return -joint.logsumexp(dim=2)

    def forward(self, S: Tensor) -> Tensor:
        """Return the negative log likelihoods."""
        x = contexts(scaled(S), self.config.context)
        return self.nll(x.flatten(0, 1).flatten(1)).view(x.shape).flatten(1, 2)


class MADE(TrainedEmbedder):
    """Embedder: negative log likelihood per mel."""

    name: ClassVar[str] = "made"
    config_type: ClassVar[type] = MADEConfig
    network_type: ClassVar[type[nn.Module]] = MADENet
    objective_type: ClassVar[type[Reconstruct]] = Likelihood
