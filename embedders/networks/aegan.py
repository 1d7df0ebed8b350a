"""`aegan`: an autoencoder that must also please a discriminator; both judge blocks of the log-mel spectrogram.

AEGAN-AD (Jiang et al., "Unsupervised anomaly detection and localization of machine audio: a GAN-based approach", ICASSP
2023). The discriminator learns to tell blocks from their reconstructions (Wasserstein, with gradient penalty); the
autoencoder, which generates these, learns their squared error and to match the statistics of the discriminator's
embeddings, with no adversarial term. `output` chooses what is stored: "embedding" of the discriminator, "residual"
of the autoencoder in dB, or "latent", how far the code of a reconstruction lies from that of the block.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from embedders.networks.aegan_network import AEGANConfig, AEGANNet
from embedders.networks.trained import Features, Reconstruct, TrainedEmbedder


class Adversarial(Reconstruct):
    """Generator and discriminator, trained in turn.

    Held-out clips judge by the squared residual in dB alone: a distance between embeddings means something else
    whenever the discriminator has learned. Views of "embedding" are `mean` and `std` over a clip's blocks; those of
    "residual" and "latent" are of Reconstruct, over mels and over the numbers of a code.
    """

    network: AEGANNet
    views: ClassVar[tuple[str, ...]] = ("mean", "std")
    outputs: ClassVar[tuple[str, ...]] = ("embedding", "residual", "latent")

    def turns(self) -> tuple[tuple[Callable[..., Tensor], list[nn.Parameter]], ...]:
        """The discriminator's loss, then the generator's, each with the parameters that it moves."""
        one, two = self.network.discriminator, self.network.generator
        return (self.discrimination, list(one.parameters())), (self.generation, list(two.parameters()))

    def discrimination(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean score of reconstructions less that of blocks, and the penalty of slopes other than 1 between them."""
        with torch.autocast(features[0].device.type, enabled=False):  # slopes of slopes need whole precision
            judge, real = self.network.discriminator, self.network.blocks(*features)
            with torch.no_grad():
                made = self.network.generator(real)
            between = torch.lerp(made, real, torch.rand(len(real), 1, 1, 1, device=real.device)).requires_grad_()
            (slope,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
            excess: Tensor = slope.flatten(1).norm(dim=1) - 1
            loss: Tensor = judge(made).mean() - judge(real).mean()
            return loss + self.network.config.penalty * excess.square().mean()

    def generation(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean squared error in units of half the range, and that of the embeddings' statistics, weighted."""
        config, real = self.network.config, self.network.blocks(*features)
        made = self.network.generator(real)
        loss: Tensor = (made.float() - real).square().mean()
        with torch.no_grad():
            wanted = self.network.discriminator.embed(real).float()
        found = self.network.discriminator.embed(made).float()
        loss = loss + config.match_mean * (found.mean(0) - wanted.mean(0)).square().mean()
        if config.match_std:
            deviation = found.std(0, correction=0) - wanted.std(0, correction=0)
            loss = loss + config.match_std * deviation.square().mean()
        return loss

    def vectors(self, features: Features, output: str) -> Tensor:
        """(batch, views, columns)."""
        if output == "residual":
            return super().vectors(features, output)
        x, n = self.network.blocks(*features), len(features[0])
        if output == "latent":
            generator = self.network.generator
            moved = generator.encode(generator(x)) - generator.encode(x)
            return self.statistics(moved.float().view(n, -1, self.network.config.latent))
        found = self.network.discriminator.embed(x).float().view(n, -1, self.network.config.dim)
        return torch.stack([found.mean(1), found.std(1, correction=0)], dim=1)


class AEGAN(TrainedEmbedder):
    """Views of the discriminator's embedding, or of what the autoencoder leaves over."""

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
