"""`wav2vec2`, `hubert`, `wavlm`, `ast`, `encoder`: frozen audio encoders of transformers, by folder or hub id.

A folder is what `save_pretrained` writes: config.json, preprocessor_config.json and the weights. Features are those of
the model's own feature extractor, computed by it or by an equal front end on the device of the waves. transformers
takes 5 to 17 s to import, so it is imported only when a model is loaded. Code from a hub is never run.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from embedders.pretrained.front_ends import front_end_of
from embedders.pretrained.frozen import PRECISIONS, FrozenEncoder, cast_weights
from embedders.pretrained.weight_files import read_all
from embedders.pretrained.weights import models_folder, resolve
from featstore.errors import DataError

WINDOW, HOP = 400, 160  # 25 and 10 ms at 16 kHz: the frames of spectrogram encoders
SOUND_INPUTS = {"input_values", "input_features"}
UNUSED = {"masked_spec_embed"}  # used in training only; older checkpoints lack it
NOT_FACTS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


@dataclass(frozen=True)
class Grid:
    """Order of an encoder's tokens: special tokens first, then all times of the lowest band, of the next band, ..."""

    n_special: int = 0
    n_bands: int = 1

    def arrange(self, tokens: Tensor) -> Tensor:
        """Arrange tokens (..., token, dim) as (..., time, band, dim)."""
        places = tokens[..., self.n_special :, :]
        return places.reshape(*places.shape[:-2], self.n_bands, -1, places.shape[-1]).transpose(-3, -2)


def _grid(config: Any) -> Grid:
    if config.model_type != "audio-spectrogram-transformer":
        return Grid()
    return Grid(n_special=2, n_bands=(config.num_mel_bins - config.patch_size) // config.frequency_stride + 1)


def _min_samples(config: Any, extractor: Any) -> int:
    """Samples needed for one token, of a convolutional front end or of a spectrogram."""
    stack = list(zip(getattr(config, "conv_kernel", ()), getattr(config, "conv_stride", ()), strict=True))
    if not stack:
        return WINDOW + (getattr(extractor, "stride", 1) - 1) * HOP
    return reduce(lambda n, layer: (n - 1) * layer[1] + layer[0], reversed(stack), _squeeze(config))


def _squeeze(config: Any) -> int:
    """Number of front-end tokens that SEW joins to one token for its layers."""
    return int(getattr(config, "squeeze_factor", 1))


def _max_samples(extractor: Any) -> int | None:
    """Longest wave in samples that the extractor does not cut; None if there is no limit."""
    frames = getattr(extractor, "max_length", None)
    longest = (frames - 1) * HOP + WINDOW if frames else getattr(extractor, "n_samples", None)
    return int(longest) if longest else None


class TransformersModel:
    """A loaded encoder with its feature extractor (a TokenModel)."""

    def __init__(self, path: Path, precision: str) -> None:
        config, self.extractor, network = _from_pretrained(path)
        self.path = path
        self.network: Any = cast_weights(network.eval().requires_grad_(False), precision)
        self.precision = PRECISIONS[precision]
        self.grid = _grid(config)
        self.model_type = str(config.model_type)
        self.sample_rate_hz = int(self.extractor.sampling_rate)
        self.n_layers, self.dim, self.n_bands = config.num_hidden_layers, config.hidden_size, self.grid.n_bands
        self.squeeze = _squeeze(config)
        self.min_samples, self.max_samples = _min_samples(config, self.extractor), _max_samples(self.extractor)
        self.facts: Mapping[str, object] = {
            "network": _plain(config.to_dict()),
            "front_end": _plain(self.extractor.to_dict()),
        }

    @cached_property
    def weights_sha256(self) -> str:
        """Digest of names, shapes and values of all weights."""
        return read_all(self.path).sha256()

    def front_end(self, waves: Tensor) -> Mapping[str, Tensor]:
        """The network's inputs of waves (batch, time), on their device; on the CPU where we have no equal front end."""
        front_end = front_end_of(self.extractor)
        if front_end:
            return {self.network.main_input_name: front_end(self.extractor, waves)}
        arrays = list(waves.cpu().numpy())
        inputs = self.extractor(arrays, sampling_rate=self.sample_rate_hz, return_tensors="pt")
        return dict(inputs.to(waves.device))

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Waves (batch, time) to tokens (batch, layer, time, band, dim)."""
        inputs = self.front_end(waves)
        with torch.autocast(waves.device.type, self.precision, enabled=self.precision != torch.float32):
            out = self.network.to(waves.device)(**inputs, output_hidden_states=True)
        # The last state comes from last_hidden_state, which is normalised if the network ends in a normalisation. SEW
        # upsamples it to the length of its input and pads it with a zero if that is odd: repeat the tokens of other
        # layers, and drop the zero.
        n = out.hidden_states[0].shape[1] * self.squeeze
        states = [*out.hidden_states[:-1], out.last_hidden_state[:, :n]]
        chosen = [states[layer].repeat_interleave(n // states[layer].shape[1], dim=1) for layer in layers]
        return self.grid.arrange(torch.stack(chosen, dim=1).float())


def _from_pretrained(path: Path) -> tuple[Any, Any, Any]:
    """Config, feature extractor and network of a folder; DataError names what is missing or does not fit."""
    import transformers
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(path, **local)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(path, **local)
        network, report = transformers.AutoModel.from_pretrained(
            path, config=config, weights_only=True, dtype=torch.float32, output_loading_info=True, **local
        )
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: the weight file contains other objects than tensors, or is damaged; use safetensors"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(
            f"{path}: transformers cannot read this model ({str(error).strip().splitlines()[0]}); expected "
            "config.json, preprocessor_config.json and model.safetensors of an audio encoder"
        ) from error
    missing = sorted(set(report["missing_keys"]) - UNUSED)
    if missing:
        raise DataError(
            f"{path}: weights are missing: {', '.join(missing[:5])} ({len(missing)} in all); fetch them again"
        )
    if network.main_input_name not in SOUND_INPUTS or not hasattr(config, "num_hidden_layers"):
        raise DataError(
            f"{path}: a {config.model_type} model reads {network.main_input_name}, expected an audio encoder"
        )
    return config, extractor, network.get_encoder() if config.is_encoder_decoder else network


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON, without those that do not affect embeddings."""
    facts = {key: value for key, value in values.items() if key not in NOT_FACTS}
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain


@dataclass(frozen=True, kw_only=True)
class Encoder(FrozenEncoder):
    """Embedder: any audio encoder of transformers; a subclass accepts a single kind of model."""

    name: ClassVar[str] = "encoder"
    model_type: ClassVar[str] = ""
    example: ClassVar[str] = "facebook/wav2vec2-base"

    def load(self) -> TransformersModel:
        """Load from a local folder, the models folder, the hub's cache or the hub."""
        advice = (
            f"Use a hub id such as {self.name}={self.example}, or a folder with config.json, "
            f"preprocessor_config.json and model.safetensors, for example in {models_folder()}"
        )
        path = resolve(self.checkpoint, name=self.name, advice=advice)
        if path.is_file():
            raise DataError(f"{path}: expected a folder with config.json and weights, got a file; name the folder")
        model = TransformersModel(path, self.precision)
        if self.model_type not in ("", model.model_type):
            raise DataError(
                f"{path}: expected a {self.model_type} model, got {model.model_type}; write encoder={self.checkpoint}"
            )
        return model


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2(Encoder):
    """wav2vec 2.0 (Baevski et al., NeurIPS 2020): one token per 20 ms."""

    name, model_type, example = "wav2vec2", "wav2vec2", "facebook/wav2vec2-base"


@dataclass(frozen=True, kw_only=True)
class HuBERT(Encoder):
    """HuBERT (Hsu et al., TASLP 2021): one token per 20 ms."""

    name, model_type, example = "hubert", "hubert", "facebook/hubert-base-ls960"


@dataclass(frozen=True, kw_only=True)
class WavLM(Encoder):
    """WavLM (Chen et al., JSTSP 2022): one token per 20 ms."""

    name, model_type, example = "wavlm", "wavlm", "microsoft/wavlm-base"


@dataclass(frozen=True, kw_only=True)
class AST(Encoder):
    """Audio Spectrogram Transformer (Gong et al., INTERSPEECH 2021): patches in 12 bands of windows of 10.24 s."""

    name, model_type = "ast", "audio-spectrogram-transformer"
    example = "MIT/ast-finetuned-audioset-10-10-0.4593"
