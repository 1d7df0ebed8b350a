"""`idcaf`: an autoencoder conditioned on the section, which reconstructs its input under the right section only.

The ID-conditioned autoencoder (Kapka, DCASE 2020 Workshop). Under a wrong section of the machine, the output is trained
to be a constant. A clip that does not sound like its section is then reconstructed badly. The vector of a clip is minus
its squared error in dB under every section; the detector `posterior:score=likelihood` reads the column of its own.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.frames import SPREAD_DB, LogMelNet, contexts, scaled
from embedders.networks.objectives.per_section import PerSection
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.reconstruction.dense import FrameConfig, dense
from embedders.networks.trained import TrainedEmbedder

ENCODER = 15
"""Modules of the dense stack up to the bottleneck: five layers, each with a batch norm and a ReLU."""


@dataclass(frozen=True, kw_only=True)
class IDCAFConfig(FrameConfig):
    """penalty: weight of the error to the constant under a wrong section. constant: the output there, in scaled units.

    Scaled units are those of `frames.scaled`: a typical log-mel has values from -2 to 2.
    """

    bottleneck: int = 16
    penalty: float = 1 / 3
    constant: float = 5.0

    def __post_init__(self) -> None:
        """Check that the penalty is not negative."""
        super().__post_init__()
        if not self.penalty >= 0:
            raise ValueError(f"penalty={self.penalty:g}: expected 0 or more")


class IDCAFNet(LogMelNet):
    """Log-mel and a code to squared errors (batch, 2) in dB squared: to the input, and to the constant.

    The code scales and shifts the bottleneck: (1 + code[:bottleneck]) * z + code[bottleneck:].
    """

    def __init__(self, config: IDCAFConfig) -> None:
        super().__init__(config)
        size = config.context * config.n_mels
        layers = dense(size, size, config)
        self.encoder, self.decoder = layers[:ENCODER], layers[ENCODER:]
        self.code_size = 2 * config.bottleneck

    def forward(self, S: Tensor, code: Tensor) -> Tensor:
        """Return both errors of every clip."""
        x = contexts(scaled(S), self.config.context).flatten(2)
        z = self.encoder(x.flatten(0, 1)).view(*x.shape[:2], -1)
        scale, shift = code[:, None].chunk(2, dim=2)
        output = self.decoder(((1 + scale) * z + shift).flatten(0, 1)).view(x.shape).float()
        errors = [(output - aim).square().mean(dim=(1, 2)) for aim in (x, self.config.constant)]
        return SPREAD_DB**2 * torch.stack(errors, dim=1)

    def repel(self, own: Tensor, wrong: Tensor) -> Tensor:
        """Squared error to the constant under the wrong section."""
        return wrong[:, 1]


class IDCAF(TrainedEmbedder):
    """Embedder: minus the squared error under every section."""

    name: ClassVar[str] = "idcaf"
    config_type: ClassVar[type] = IDCAFConfig
    network_type: ClassVar[type[nn.Module]] = IDCAFNet
    objective_type: ClassVar[type[Reconstruct]] = PerSection
