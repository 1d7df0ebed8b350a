"""`stargan`: translates normal sound into the sound of confirmed faults, trained against a discriminator.

StarGAN (Choi et al., CVPR 2018), which StarGAN-Aug (INTERSPEECH 2025) applies to the sounds of power transformers. One
generator serves all kinds of faults: a code of the target class is its second input. Its output are gains of mel bands
over time, so that `translator.py` filters the recording itself. A class is a machine and its state, `normal` or a
confirmed fault; translations stay within a machine. As an embedder it stores views of the discriminator's maps.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedders.losses.gradient_penalty import gradient_penalty
from embedders.networks.frames import SPREAD_DB, scaled
from embedders.networks.objectives.names import Features
from embedders.networks.objectives.reconstruct import Reconstruct
from embedders.networks.trained import TrainedEmbedder
from embedders.networks.translation.stargan_network import SILENCE, StarGANConfig, StarGANNet

SMALLEST_VARIANCE = 1e-4  # so that the gradient of a standard deviation is finite


def targets_of(classes: tuple[str, ...]) -> Tensor:
    """Whether a class (row) is translated to another, bool: to the others of its machine, or else to itself."""
    names = [name.partition("|")[0] for name in classes]
    numbers = {name: number for number, name in enumerate(names)}
    machine = torch.tensor([numbers[name] for name in names], dtype=torch.long)
    allowed = machine[:, None] == machine
    own = torch.eye(len(classes), dtype=torch.bool)
    others = allowed & ~own
    return others | (own & ~others.any(dim=1, keepdim=True))


def statistics(x: Tensor) -> Tensor:
    """Mean and standard deviation over time of (batch, mel, frame): (batch, 2, mel)."""
    return torch.stack([x.mean(2), (x.var(2, correction=0) + SMALLEST_VARIANCE).sqrt()], dim=1)


class Translate(Reconstruct):
    """Generator and discriminator, trained in turn.

    The discriminator learns to separate recorded from translated sound (Wasserstein loss with gradient penalty), and to
    name the class of recorded sound. The generator minimises, by the weights of the config: the negative score of its
    translations; `classify`, the cross entropy of the target class; `cycle`, the error after the translation back;
    `identity`, the change by a translation to the own class (both mean absolute errors); `match`, the mean squared
    error in dB of the change of `statistics` against the difference of the two classes (ours, because faults are few).
    """

    network: StarGANNet
    allowed: Tensor
    level: Tensor
    count: Tensor
    views: ClassVar[tuple[str, ...]] = ("mean", "std")
    keeps_classes: ClassVar[bool] = True
    labels: ClassVar[str] = "state"

    def __init__(self, network: StarGANNet, dim: int, classes: tuple[str, ...], loss: Mapping[str, Any]) -> None:
        super().__init__(network, dim, classes, loss)
        self.codes = nn.Embedding(len(classes), network.config.code)
        self.classify = nn.Linear(dim, len(classes))
        self.register_buffer("allowed", targets_of(classes), persistent=False)
        self.register_buffer("level", torch.zeros(len(classes), 2, network.config.n_mels))
        self.register_buffer("count", torch.zeros(len(classes)))

    def translate(self, x: Tensor, target: Tensor) -> Tensor:
        """Scaled log-mel (batch, mel, frame) of recordings to that of the target classes (batch,)."""
        gains: Tensor = self.network.generator(x, self.codes(target))
        return (x + gains.float()).clamp(min=SILENCE)

    def turns(self) -> tuple[tuple[Callable[..., Tensor], list[nn.Parameter]], ...]:
        """Loss of the discriminator, then of the generator, each with the parameters it trains."""
        judge = [*self.network.discriminator.parameters(), *self.classify.parameters()]
        generator = [*self.network.generator.parameters(), *self.codes.parameters()]
        return (self.discrimination, judge), (self.generation, generator)

    def discrimination(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean score of translations minus that of recordings, gradient penalty, and cross entropy of the classes."""
        with torch.autocast(features[0].device.type, enabled=False):  # second derivatives need float32
            config, judge, real = self.network.config, self.network.discriminator, scaled(features[0])
            if self.training:
                self._count(real, first)
            with torch.no_grad():
                generated = self.translate(real, self._drawn(first))
            penalty = gradient_penalty(judge, real, generated)
            loss: Tensor = judge(generated).mean() - judge(real).mean() + config.penalty * penalty
            return loss + config.classify * functional.cross_entropy(self._logits(real), first)

    def generation(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """The weighted sum of the generator's losses, see the class."""
        config, real = self.network.config, scaled(features[0])
        wanted = self._drawn(first)
        generated = self.translate(real, wanted)
        loss: Tensor = -self.network.discriminator(generated).float().mean()
        loss = loss + config.classify * functional.cross_entropy(self._logits(generated).float(), wanted)
        loss = loss + config.cycle * (self.translate(generated, first) - real).abs().mean()
        loss = loss + config.identity * (self.translate(real, first) - real).abs().mean()
        return loss + config.match * self._mismatch(real, generated, first, wanted).mean()

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Held-out loss: the error of `match` in squared dB, over the translations to all other classes.

        Scores of discriminators of different epochs are not comparable.
        """
        x = scaled(features[0])
        rows, wanted = self.allowed[first].nonzero(as_tuple=True)
        error = self._mismatch(x[rows], self.translate(x[rows], wanted), first[rows], wanted)
        return error.mean()

    def vectors(self, features: Features, output: str) -> Tensor:
        """Mean and standard deviation over time of the discriminator's maps: (batch, 2, dim)."""
        maps = self.network(*features).float()
        return torch.stack([maps.mean(2), maps.std(2, correction=0)], dim=1)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.network.discriminator.embed(x).mean(2))
        return logits

    def _drawn(self, first: Tensor) -> Tensor:
        """A random target class for each clip."""
        return torch.multinomial(self.allowed[first].float(), 1)[:, 0]

    def _mismatch(self, real: Tensor, generated: Tensor, first: Tensor, wanted: Tensor) -> Tensor:
        """Mean squared error in dB (batch,) of the change of statistics against the difference of the classes."""
        change = statistics(generated) - statistics(real)
        error = change - (self.level[wanted] - self.level[first])
        return (error * SPREAD_DB).square().mean((1, 2))

    @torch.no_grad()
    def _count(self, x: Tensor, first: Tensor) -> None:
        """Add recordings to the mean statistics of their classes."""
        own = functional.one_hot(first, len(self.count)).float()
        self.count += own.sum(0)
        values = statistics(x).flatten(1)
        step = (own.T @ values - own.sum(0)[:, None] * self.level.flatten(1)) / self.count.clamp(min=1)[:, None]
        self.level += step.view_as(self.level)


class StarGAN(TrainedEmbedder):
    """Embedder: mean and standard deviation of the discriminator's maps."""

    name: ClassVar[str] = "stargan"
    config_type: ClassVar[type] = StarGANConfig
    network_type: ClassVar[Callable[[Any], nn.Module]] = StarGANNet
    objective_type: ClassVar[type[Reconstruct]] = Translate
