"""`beats`: frozen BEATs features from an official checkpoint (iter1 to iter3+, pre-trained or fine-tuned)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from embedders.pretrained.beats_network import N_MELS, BEATsConfig, BEATsNetwork, front_end
from embedders.pretrained.frozen import PRECISIONS, FrozenEncoder, cast_weights
from embedders.pretrained.weight_files import Checkpoint, read_all, refuse_misfits
from embedders.pretrained.weights import models_folder, resolve
from featstore.errors import DataError

FRAME, HOP = 400, 160
SHARED_TABLE = "self_attn.relative_attention_bias.weight"
SOURCE = "https://github.com/microsoft/unilm/tree/master/beats"


class BEATsModel:
    """A loaded BEATs network (a TokenModel)."""

    sample_rate_hz = 16000
    max_samples: int | None = None

    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        self.checkpoint, self.network = checkpoint, build_network(checkpoint)
        cast_weights(self.network, precision)
        config = self.network.config
        self.precision = PRECISIONS[precision]
        self.n_layers, self.dim = config.encoder_layers, config.encoder_embed_dim
        self.n_bands = N_MELS // config.input_patch_size
        self.min_samples = FRAME + (config.input_patch_size - 1) * HOP
        self.facts: Mapping[str, object] = asdict(config)

    @cached_property
    def weights_sha256(self) -> str:
        """Digest of names, shapes and values of all weights."""
        return self.checkpoint.sha256()

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Waves (batch, time) to tokens (batch, layer, time, band, dim)."""
        S = front_end(waves)
        with torch.autocast(waves.device.type, self.precision, enabled=self.precision != torch.float32):
            states = self.network.to(waves.device).hidden_states(S)
        chosen = torch.stack([states[layer] for layer in layers], dim=1).float()
        return chosen.view(*chosen.shape[:2], -1, self.n_bands, self.dim)


def build_network(checkpoint: Checkpoint) -> BEATsNetwork:
    """Network of a checkpoint, in evaluation mode; ValueError if any key or shape does not fit."""
    if "cfg" not in checkpoint.extra:
        raise ValueError("`cfg` is missing; expected an official BEATs checkpoint with the keys `cfg` and `model`")
    unknown = sorted(set(checkpoint.extra) - {"cfg", "label_dict"})
    if unknown:
        raise ValueError(f"expected the keys `cfg`, `model` and `label_dict`, got also {', '.join(unknown)}")
    tables = [tensor for name, tensor in checkpoint.tensors.items() if name.endswith(SHARED_TABLE)]
    if any(not torch.equal(table, tables[0]) for table in tables[1:]):
        raise ValueError("the position-bias tables of the layers differ; all layers of BEATs share one")
    config = BEATsConfig.of(checkpoint.extra["cfg"])
    n_layers = len({name.split(".")[2] for name in checkpoint.tensors if name.startswith("encoder.layers.")})
    if n_layers != config.encoder_layers:  # checked before allocating the layers
        raise ValueError(f"`cfg` has encoder_layers={config.encoder_layers}, `model` has {n_layers} layers")
    with torch.device("meta"):  # allocates no random weights
        network = BEATsNetwork(config)
    try:
        refuse_misfits(checkpoint.tensors, network.state_dict(), within="`model`", shapes="`cfg`")
    except ValueError as error:
        raise ValueError(f"{error}. Damaged, or not a known kind of BEATs; fetch it again") from error
    network.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class BEATs(FrozenEncoder):
    """Embedder: pooled BEATs tokens; pool=bands gives a view for each of the 8 frequency bands of 16 x 16 patches."""

    name: ClassVar[str] = "beats"

    def load(self) -> BEATsModel:
        """Find, read and check the checkpoint."""
        advice = (
            f"Download an official checkpoint, such as BEATs_iter3.pt, from the links at {SOURCE} to "
            f"{models_folder()} and write beats=BEATs_iter3.pt, or give another path"
        )
        path = resolve(self.checkpoint, name=self.name, advice=advice)
        try:
            return BEATsModel(read_all(path), self.precision)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {error}") from error
