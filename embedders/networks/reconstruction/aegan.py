"""`aegan`: an autoencoder and a discriminator on blocks of the log-mel spectrogram, trained in turn.

AEGAN-AD (Jiang et al., "Unsupervised anomaly detection and localization of machine audio: a GAN-based approach", ICASSP
2023). The discriminator learns to separate blocks from their reconstructions (Wasserstein loss with gradient penalty).
The autoencoder, the generator, minimises the squared error plus the difference between statistics of the
discriminator's embeddings; it has no adversarial term. `output` selects the stored vectors: "embedding" of the
discriminator, "residual" of the autoencoder in dB, or "latent", the code of the reconstruction minus that of the block.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.losses.gradient_penalty import gradient_penalty
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.reconstruction.aegan_network import AEGANConfig, AEGANNet
from embedders.networks.trained import TrainedEmbedder


class Adversarial(Reconstruct):
    """Generator and discriminator, trained in turn.

    The held-out loss is the squared residual in dB alone, because distances between embeddings of different epochs are
    not comparable. Views of "embedding" are `mean` and `std` over a clip's blocks; "residual" and "latent" have the
    views of Reconstruct, over mels and over the values of a code.
    """

    network: AEGANNet
    views: ClassVar[tuple[str, ...]] = ("mean", "std")
    outputs: ClassVar[tuple[str, ...]] = ("embedding", "residual", "latent")

    def turns(self) -> tuple[tuple[Callable[..., Tensor], list[nn.Parameter]], ...]:
        """Loss of the discriminator, then of the generator, each with the parameters it trains."""
        discriminator, generator = self.network.discriminator, self.network.generator
        return (self.discrimination, list(discriminator.parameters())), (self.generation, list(generator.parameters()))

    def discrimination(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean score of reconstructions minus that of blocks, plus the penalty on gradient norms other than 1."""
        with torch.autocast(features[0].device.type, enabled=False):  # second derivatives need float32
            judge, real = self.network.discriminator, self.network.blocks(*features)
            with torch.no_grad():
                generated = self.network.generator(real)
            penalty = gradient_penalty(judge, real, generated)
            loss: Tensor = judge(generated).mean() - judge(real).mean()
            return loss + self.network.config.penalty * penalty

    def generation(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean squared error in units of half the range, plus the weighted error of the embeddings' statistics."""
        config, real = self.network.config, self.network.blocks(*features)
        generated = self.network.generator(real)
        loss: Tensor = (generated.float() - real).square().mean()
        with torch.no_grad():
            target_z = self.network.discriminator.embed(real).float()
        z = self.network.discriminator.embed(generated).float()
        loss = loss + config.match_mean * (z.mean(0) - target_z.mean(0)).square().mean()
        if config.match_std:
            difference = z.std(0, correction=0) - target_z.std(0, correction=0)
            loss = loss + config.match_std * difference.square().mean()
        return loss

    def vectors(self, features: Features, output: str) -> Tensor:
        """Vectors (batch, views, columns)."""
        if output == "residual":
            return super().vectors(features, output)
        x, n = self.network.blocks(*features), len(features[0])
        if output == "latent":
            generator = self.network.generator
            difference = generator.encode(generator(x)) - generator.encode(x)
            return self.statistics(difference.float().view(n, -1, self.network.config.latent))
        z = self.network.discriminator.embed(x).float().view(n, -1, self.network.config.dim)
        return torch.stack([z.mean(1), z.std(1, correction=0)], dim=1)


class AEGAN(TrainedEmbedder):
    """Embedder: views of the discriminator's embedding, or of the autoencoder's residual."""

    name: ClassVar[str] = "aegan"
    config_type: ClassVar[type] = AEGANConfig
    network_type: ClassVar[type[nn.Module]] = AEGANNet
    objective_type: ClassVar[type[Reconstruct]] = Adversarial

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the output's views."""
        return self.objective_type.views if self.output == "embedding" else Reconstruct.views

    @property
    def shape(self) -> tuple[int, ...]:
        """(views, d)."""
        columns = {"embedding": self.settings.dim, "residual": self.settings.n_mels, "latent": self.settings.latent}
        return len(self.views), columns[self.output]
