"""Random checkpoints of pretrained encoders in the formats of the real ones, small where the format allows it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from embedders.pretrained.beats_network import BEATsConfig, BEATsNetwork
from embedders.pretrained.convolutional.crepe_network import CrepeNetwork
from embedders.pretrained.convolutional.mn04_network import MN04Network

TINY_CFG = {
    "input_patch_size": 16,
    "embed_dim": 12,
    "conv_bias": False,
    "encoder_layers": 3,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 2,
    "activation_fn": "gelu",
    "layer_wise_gradient_decay_ratio": 0.6,
    "layer_norm_first": False,
    "deep_norm": True,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.05,
    "dropout_input": 0.0,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "relative_position_embedding": True,
    "num_buckets": 16,
    "max_distance": 30,
    "gru_rel_pos": True,
    "finetuned_model": False,
}
"""All keys of the `cfg` of a pre-trained checkpoint."""

FINETUNED = {"finetuned_model": True, "predictor_dropout": 0.0, "predictor_class": 5}


def beats_checkpoint(seed: int = 0, **changes: object) -> dict[str, object]:
    """The dict of an official checkpoint with random weights, biases and scales."""
    cfg = TINY_CFG | changes
    network = BEATsNetwork(BEATsConfig.of(cfg))
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=random) * (1.0 if "bias.weight" in name else 0.3)
            parameter.copy_(1 + noise if "norm.weight" in name or name.endswith(("weight_g", "grep_a")) else noise)
    labels = {"label_dict": {i: f"/m/{i}" for i in range(5)}} if cfg["finetuned_model"] else {}
    return {"cfg": cfg, "model": dict(network.state_dict()), **labels}


def save_beats(path: Path, **changes: object) -> Path:
    """Write a checkpoint with random weights."""
    torch.save(beats_checkpoint(**changes), path)
    return path


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SMALL_WAVES = SMALL | {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}
SMALL_AST = SMALL | {"num_mel_bins": 32, "max_length": 64}
SMALL_KINDS = {
    "wav2vec2": ("Wav2Vec2", SMALL_WAVES),
    "hubert": ("Hubert", SMALL_WAVES),
    "wavlm": ("WavLM", SMALL_WAVES | {"num_buckets": 16}),
    "ast": ("AST", SMALL_AST),
    "data2vec": ("Data2VecAudio", SMALL_WAVES | {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 9}),
    "unispeech-sat": ("UniSpeechSat", SMALL_WAVES),
    "sew": ("SEW", SMALL_WAVES | {"conv_dim": (8,) * 13}),
    "wav2vec2-bert": ("Wav2Vec2Bert", SMALL),
}
"""Name of each encoder in transformers, and the config of a small one."""


def save_encoder(folder: Path, kind: str, seed: int = 0, **changes: object) -> Path:
    """Write a random encoder of transformers and its feature extractor by `save_pretrained`."""
    import transformers as t

    name, small = SMALL_KINDS[kind]
    t.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = getattr(t, f"{name}Config")(**small | changes)
    getattr(t, f"{name}Model")(config).save_pretrained(folder)
    extractors = {
        "ast": lambda: t.ASTFeatureExtractor(num_mel_bins=config.num_mel_bins, max_length=config.max_length),
        "wav2vec2-bert": t.SeamlessM4TFeatureExtractor,
    }
    extractors.get(kind, lambda: t.Wav2Vec2FeatureExtractor(do_normalize=kind != "wavlm"))().save_pretrained(folder)
    return folder


def random_weights(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """State of a network of convolutions with random weights (numpy's generator) that keep the size of its values."""
    rng = np.random.default_rng(seed)
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = rng.normal(size=tensor.shape).astype(np.float32)
        if tensor.ndim > 1:
            noise *= (2 / tensor[0].numel()) ** 0.5
        elif name.endswith("running_var") or (name.endswith("weight") and ("BN" in name or ".1." in name)):
            noise = 1 + 0.1 * np.abs(noise)
        else:
            noise *= 0.1
        state[name] = torch.from_numpy(noise)
    return dict(state)


def mn04_checkpoint(seed: int = 0) -> dict[str, Tensor]:
    """Tensors of mn04's only size."""
    return random_weights(MN04Network(), seed)


def save_mn04(path: Path, seed: int = 0) -> Path:
    """Write mn04 with random weights."""
    torch.save(mn04_checkpoint(seed), path)
    return path


def crepe_checkpoint(seed: int = 0) -> dict[str, Tensor]:
    """Tensors of the tiny network; kernels have a second axis of size 1, as in the package."""
    state = random_weights(CrepeNetwork("tiny"), seed)
    return {name: tensor[..., None] if tensor.ndim == 3 else tensor for name, tensor in state.items()}


def save_crepe(path: Path, seed: int = 0) -> Path:
    """Write the tiny network of crepe with random weights."""
    torch.save(crepe_checkpoint(seed), path)
    return path


def _save_in(kind: str, folder: Path, name: str = "", seed: int = 0) -> Path:
    return save_encoder(folder / (name or kind), kind, seed)


CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "beats": lambda folder: save_beats(folder / "beats.pt"),
    **{kind: partial(_save_in, kind) for kind in ("wav2vec2", "hubert", "wavlm", "ast")},
    "encoder": partial(_save_in, "hubert", name="encoder", seed=1),
    "mn04": lambda folder: save_mn04(folder / "mn04.pt"),
    "crepe": lambda folder: save_crepe(folder / "crepe.pt"),
}
"""Embedders that need weights: functions that write small random ones to a folder and return the path."""


def save_named_models(folder: Path) -> Path:
    """Write a small random encoder under every name that published systems give; returns the folder.

    With FEATSTORE_MODELS set to it, these stand in for the real ones.
    """
    save_beats(folder / "BEATs_iter3.pt")
    save_mn04(folder / "mn04_as_mAP_432.pt")
    save_encoder(folder / "facebook" / "wav2vec2-base", "wav2vec2")
    return folder
