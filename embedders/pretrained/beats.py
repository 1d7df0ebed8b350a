"""`beats`: frozen BEATs features from an official checkpoint (iter1 to iter3+, pre-trained or fine-tuned)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from embedders.pretrained.beats_network import N_MELS, BEATsConfig, BEATsNetwork, front_end
from embedders.pretrained.frozen import PRECISIONS, FrozenEncoder, held_in
from embedders.pretrained.weight_files import Checkpoint, read_all
from embedders.pretrained.weights import models_folder, resolve
from featstore.errors import DataError

FRAME, HOP = 400, 160
SHOWN = 3  # tensors named in an error
SHARED_TABLE = "self_attn.relative_attention_bias.weight"
SOURCE = "https://github.com/microsoft/unilm/tree/master/beats"


class BEATsModel:
    """A loaded BEATs network; see TokenModel."""

    sample_rate_hz = 16000
    max_samples: int | None = None

    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        self.checkpoint, self.network = checkpoint, build_network(checkpoint)
        held_in(self.network, precision)
        config = self.network.config
        self.precision = PRECISIONS[precision]
        self.n_layers, self.dim = config.encoder_layers, config.encoder_embed_dim
        self.n_bands = N_MELS // config.input_patch_size
        self.min_samples = FRAME + (config.input_patch_size - 1) * HOP
        self.facts: Mapping[str, object] = asdict(config)

    @cached_property
    def weights_sha256(self) -> str:
        """Over names, shapes and values of all weights."""
        return self.checkpoint.sha256()

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Waves (batch, time) to tokens (batch, layer, time, band, dim)."""
        S = front_end(waves)
        with torch.autocast(waves.device.type, self.precision, enabled=self.precision != torch.float32):
            states = self.network.to(waves.device).hidden_states(S)
        chosen = torch.stack([states[layer] for layer in layers], dim=1).float()
        return chosen.view(*chosen.shape[:2], -1, self.n_bands, self.dim)


def build_network(checkpoint: Checkpoint) -> BEATsNetwork:
    """Network of a checkpoint, in evaluation mode; ValueError unless its keys and shapes fit to the last one."""
    if "cfg" not in checkpoint.extra:
        raise ValueError("no `cfg`: expected an official BEATs checkpoint with the keys `cfg` and `model`")
    unknown = sorted(set(checkpoint.extra) - {"cfg", "label_dict"})
    if unknown:
        raise ValueError(f"unknown keys beside `cfg`, `model` and `label_dict`: {', '.join(unknown)}")
    tables = [tensor for name, tensor in checkpoint.tensors.items() if name.endswith(SHARED_TABLE)]
    if any(not torch.equal(table, tables[0]) for table in tables[1:]):
        raise ValueError("the layers' tables of position biases differ; BEATs has one for all")
    config = BEATsConfig.of(checkpoint.extra["cfg"])
    n_layers = len({name.split(".")[2] for name in checkpoint.tensors if name.startswith("encoder.layers.")})
    if n_layers != config.encoder_layers:  # asked before as many are made
        raise ValueError(f"cfg says encoder_layers={config.encoder_layers}, but `model` holds {n_layers} layers")
    with torch.device("meta"):  # no time spent on random weights that are replaced at once
        network = BEATsNetwork(config)
    _refuse_misfits(checkpoint.tensors, network.state_dict())
    network.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _refuse_misfits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """ValueError names the first tensors that are missing, unknown or of another shape."""
    shared = sorted(found.keys() & expected.keys())
    kinds = {
        "lacks": sorted(expected.keys() - found.keys()),
        "has unknown": sorted(found.keys() - expected.keys()),
        "has other shapes than its cfg says:": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in shared
            if found[name].shape != expected[name].shape
        ],
    }
    wrong = [
        f"{what} {', '.join(names[:SHOWN])}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        for what, names in kinds.items()
        if names
    ]
    if wrong:
        raise ValueError(f"`model` {'; '.join(wrong)}. It is damaged or no BEATs of a known kind; fetch it again")


@dataclass(frozen=True, kw_only=True)
class BEATs(FrozenEncoder):
    """BEATs tokens, pooled; `bands` keeps the 8 frequency bands of a 16 x 16 patch grid apart."""

    @property
    def name(self) -> str:
        """Name in the table of embedders."""
        return "beats"

    def load(self) -> BEATsModel:
        """Read the checkpoint strictly."""
        advice = (
            f"Get an official checkpoint, say BEATs_iter3.pt, by the links at {SOURCE} and put it into "
            f"{models_folder()} (then beats=BEATs_iter3.pt finds it), or name any other path"
        )
        path = resolve(self.checkpoint, name=self.name, advice=advice)
        try:
            return BEATsModel(read_all(path), self.precision)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {error}") from error
