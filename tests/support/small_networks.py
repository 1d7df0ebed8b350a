"""Small checkpoints of the networks of `featstore train`, with random weights and the norms of a batch of noise."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from small_models import save_beats

from embedders import EMBEDDERS
from embedders.networks.checkpoint import Trained, save
from embedders.networks.objectives.classify import Classify
from embedders.networks.objectives.objective import Objective
from embedders.networks.trained import TrainedEmbedder, make_model, plain
from featstore import registry

CLASSES = ("fan|00|", "fan|01|", "pump|00|")
LOSS = {"name": "arcface", "params": {}}
NETWORKS: dict[str, dict[str, Any]] = {
    "stgram": {"seconds": 2.0, "n_mels": 32, "channels": ("logmel", "tgram", "tagram", "tfgram", "fagram", "tsgram")},
    "two_branch": {"seconds": 2.0, "excitation": True},
    "multires": {"seconds": 2.0, "windows": (256, 1024)},
    "tdnn": {"seconds": 2.0, "n_mels": 32},
    "sw_wavenet": {"seconds": 2.0, "n_mels": 32, "width": 16, "layers": 3},
    "fte_net": {"seconds": 2.0},
    "estm": {"seconds": 2.0, "n_mels": 32, "width": 16, "segments": 16},
    "ae": {"n_mels": 32},
    "idnn": {"n_mels": 32},
    "transae": {"n_mels": 32, "feedforward": 16, "depth": 1},
    "aegan": {"n_mels": 32, "frames": 32, "width": 2, "latent": 8},
    "idcaf": {"n_mels": 32},
    "anp": {"n_mels": 32, "width": 16, "tile_mels": 8},
    "made": {"n_mels": 32, "bands": 8, "width": 64, "mixtures": 2},
    "glow": {"n_mels": 32, "width": 8, "flows": 2, "code": 4},
    "dp_mae": {"n_mels": 32, "seconds": 2.0, "dim": 16, "decoder_dim": 8, "heads": 2, "depth": 1, "decoder_depth": 1},
    "stargan": {"seconds": 2.0, "n_mels": 32, "width": 8, "dim": 8, "code": 4},
    "mobilenetv2": {"n_mels": 32, "patch": 16, "factor": 0.1},
}


def small_model(name: str, seed: int = 0, **changes: Any) -> tuple[type[TrainedEmbedder], Any, Objective]:
    """Kind, config and model; its batch norms have the statistics of a batch of noise."""
    kind = registry.find("embedder", name)
    config = kind.config_type(**NETWORKS.get(name, {}) | changes)
    torch.manual_seed(seed)
    model = make_model(kind, config, CLASSES, LOSS)
    channels = (kind.n_channels,) if kind.n_channels > 1 else ()
    waves = 0.1 * torch.randn(8, *channels, 2 * config.sample_rate_hz)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().vectors(model.network.front(waves), "network")
    return kind, config, model.eval()


def save_network(name: str, folder: Path, **changes: Any) -> Path:
    """Write a small checkpoint."""
    kind, config, model = small_model(name, **changes)
    classes = CLASSES if kind.objective_type.keeps_classes else ()
    loss = LOSS if issubclass(kind.objective_type, Classify) else {}
    path = folder / f"{name}.safetensors"
    save(path, Trained(name, plain(config), model.state_dict(), classes, loss))
    return path


def save_finetuned(folder: Path) -> Path:
    """Write a small BEATs and a checkpoint with adapters and a head for it."""
    encoder = f"beats={save_beats(folder / 'base_of_finetune.pt')}"
    return save_network("finetune", folder, encoder=encoder, rank=2, dim=16)


def save_na_beats(folder: Path) -> Path:
    """Write a small BEATs and a checkpoint with corrections for it that are not zero."""
    encoder = f"beats={save_beats(folder / 'base_of_na_beats.pt')}"
    _, config, model = small_model("na_beats", encoder=encoder, dim=8, heads=2)
    for correction in model.network.corrections:
        torch.nn.init.normal_(correction.out_proj.weight)
    path = folder / "na_beats.safetensors"
    save(path, Trained("na_beats", plain(config), model.state_dict()))
    return path


CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    **{name: partial(save_network, name) for name in NETWORKS if name in EMBEDDERS},
    "finetune": save_finetuned,
    "na_beats": save_na_beats,
}
"""As in small_models: what follows NAME=."""
