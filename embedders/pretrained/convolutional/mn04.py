"""`mn04`: frozen features of a small network trained on AudioSet, from the checkpoint that its authors published."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import torch
from torch import Tensor

from embedders.pretrained.convolutional import mn04_front_end
from embedders.pretrained.convolutional.mn04_network import MN04Network, fold_normalisation, grids
from embedders.pretrained.convolutional.strict import load_strictly
from embedders.pretrained.frozen import FrozenEncoder
from embedders.pretrained.releases import RELEASES
from embedders.pretrained.weight_files import Checkpoint, read_all
from embedders.pretrained.weights import models_folder, resolve
from featstore.errors import DataError

RELEASE = RELEASES["mn04"]


class MN04Model:
    """A loaded network (a TokenModel); its layers differ in size, see `states`."""

    sample_rate_hz = mn04_front_end.RATE_HZ
    min_samples = mn04_front_end.MIN_SAMPLES
    max_samples: int | None = None
    facts: Mapping[str, object] = {"sample_rate_hz": mn04_front_end.RATE_HZ, "n_mels": mn04_front_end.N_MELS}

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        network = build_network(checkpoint)
        fold_normalisation(network)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.grids = grids()
        self.n_layers = len(self.grids) - 1
        self.n_bands, self.dim = self.grids[-1]

    @cached_property
    def weights_sha256(self) -> str:
        """Digest of names, shapes and values of all weights."""
        return self.checkpoint.sha256()

    def states(self, waves: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        """Waves (batch, time) to tokens (batch, time, band, dim) of each layer."""
        outputs = self.network.to(waves.device).states(front_end(waves), layers)
        return [x.permute(0, 3, 2, 1) for x in outputs]

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Waves (batch, time) to tokens (batch, layer, time, band, dim); ValueError for layers of different sizes."""
        if len({self.grids[layer] for layer in layers}) > 1:
            raise ValueError(f"layers {', '.join(map(str, layers))} of mn04 differ in size; take one, or use `states`")
        return torch.stack(self.states(waves, layers), dim=1)


def front_end(waves: Tensor) -> Tensor:
    """Spectrograms (batch, mel, frame) of waves (batch, time); on a CPU one clip at a time fits the cache."""
    parts = torch.split(waves, 1) if waves.device.type == "cpu" else (waves,)
    return torch.cat([mn04_front_end.log_mel(part) for part in parts])


def build_network(checkpoint: Checkpoint) -> MN04Network:
    """Network of a checkpoint, in evaluation mode; ValueError if any name, shape or value does not fit."""
    if checkpoint.extra:
        raise ValueError(
            f"expected tensors by name only, got also {', '.join(map(str, checkpoint.extra))}; use {RELEASE.file}"
        )
    with torch.device("meta"):  # allocates no random weights
        network = MN04Network()
    load_strictly(network, checkpoint.tensors, "mn04")
    return network


@dataclass(frozen=True, kw_only=True)
class MN04(FrozenEncoder):
    """Embedder: pooled outputs of mn04's feature layers, 0 (stem) to 16 (final, 384 values in 4 bands), at 32 kHz.

    Layers have 64 to 4 bands of 8 to 384 values. There is no mean of the `last` layers, because their sizes differ.
    """

    name: ClassVar[str] = "mn04"
    checkpoint: str = RELEASE.file

    def __post_init__(self) -> None:
        """Check the values before weights are read."""
        super().__post_init__()
        if self.last != 1 or self.precision != "float32":
            raise ValueError(
                f"mn04: last={self.last}, precision={self.precision}: expected last=1 and float32; choose layers by "
                "layers=3;16"
            )

    def load(self) -> MN04Model:
        """Find, read and check the checkpoint."""
        advice = (
            f"Run `featstore models pull mn04`, or copy {RELEASE.file} from {RELEASE.remote.url} to {models_folder()}"
        )
        path = resolve(self.checkpoint, name=self.name, advice=advice)
        try:
            return MN04Model(read_all(path))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {error}") from error

    def _tokens(self, waves: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        return cast(MN04Model, self.model).states(waves, layers)

    def _grid(self, layer: int) -> tuple[int, int]:
        return cast(MN04Model, self.model).grids[layer]
