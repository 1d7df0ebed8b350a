"""`wav2vec2`, `hubert`, `wavlm`, `ast`, `encoder`: frozen audio encoders of transformers, by folder or hub id.

A folder is what `save_pretrained` writes: config.json, preprocessor_config.json and the weights. Waves go through the
model's own feature extractor, or through the same on their device, so features equal transformers' own. transformers
takes 5 to 17 s to import, so only the loading of a model imports it. No code from a hub is ever run.
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
from embedders.pretrained.frozen import PRECISIONS, FrozenEncoder, held_in
from embedders.pretrained.weight_files import read_all
from embedders.pretrained.weights import models_folder, resolve
from featstore.errors import DataError

WINDOW, HOP = 400, 160  # 25 and 10 ms at 16 kHz: the frames of spectrogram encoders
SOUND_INPUTS = {"input_values", "input_features"}
UNUSED = {"masked_spec_embed"}  # a vector that only training reads; older checkpoints lack it
NOT_FACTS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


@dataclass(frozen=True)
class Grid:
    """How an encoder's tokens lie: some that stand for no place, then all times of the lowest band, of the next, ..."""

    n_special: int = 0
    n_bands: int = 1

    def arrange(self, tokens: Tensor) -> Tensor:
        """Tokens (..., token, dim) to (..., time, band, dim)."""
        places = tokens[..., self.n_special :, :]
        return places.reshape(*places.shape[:-2], self.n_bands, -1, places.shape[-1]).transpose(-3, -2)


def _grid(config: Any) -> Grid:
    if config.model_type != "audio-spectrogram-transformer":
        return Grid()
    return Grid(n_special=2, n_bands=(config.num_mel_bins - config.patch_size) // config.frequency_stride + 1)


def _min_samples(config: Any, extractor: Any) -> int:
    """Samples that make one token of a convolutional front end, or of the frames of a spectrogram."""
    stack = list(zip(getattr(config, "conv_kernel", ()), getattr(config, "conv_stride", ()), strict=True))
    if not stack:
        return WINDOW + (getattr(extractor, "stride", 1) - 1) * HOP
    return reduce(lambda n, layer: (n - 1) * layer[1] + layer[0], reversed(stack), _squeeze(config))


def _squeeze(config: Any) -> int:
    """How many tokens of its front end SEW joins to one for its layers."""
    return int(getattr(config, "squeeze_factor", 1))


def _max_samples(extractor: Any) -> int | None:
    """Longest wave that the extractor does not cut."""
    frames = getattr(extractor, "max_length", None)
    longest = (frames - 1) * HOP + WINDOW if frames else getattr(extractor, "n_samples", None)
    return int(longest) if longest else None


class TransformersModel:
    """A loaded encoder with its feature extractor; see TokenModel."""

    def __init__(self, path: Path, precision: str) -> None:
        config, self.extractor, network = _from_pretrained(path)
        self.path = path
        self.network: Any = held_in(network.eval().requires_grad_(False), precision)
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
        """Over names, shapes and values of all weights."""
        return read_all(self.path).sha256()

    def front_end(self, waves: Tensor) -> Mapping[str, Tensor]:
        """Waves (batch, time) to the network's inputs on their device, there and all at once where we know how."""
        known = front_end_of(self.extractor)
        if known:
            return {self.network.main_input_name: known(self.extractor, waves)}
        arrays = list(waves.cpu().numpy())
        inputs = self.extractor(arrays, sampling_rate=self.sample_rate_hz, return_tensors="pt")
        return dict(inputs.to(waves.device))

    def tokens(self, waves: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Waves (batch, time) to tokens (batch, layer, time, band, dim)."""
        inputs = self.front_end(waves)
        with torch.autocast(waves.device.type, self.precision, enabled=self.precision != torch.float32):
            out = self.network.to(waves.device)(**inputs, output_hidden_states=True)
        # The last hidden state is the normalised one where a network ends in a normalisation. SEW's is as long as its
        # input again, with a zero at the end where that is odd: other layers' tokens are repeated, the zero left out.
        n = out.hidden_states[0].shape[1] * self.squeeze
        states = [*out.hidden_states[:-1], out.last_hidden_state[:, :n]]
        chosen = [states[layer].repeat_interleave(n // states[layer].shape[1], dim=1) for layer in layers]
        return self.grid.arrange(torch.stack(chosen, dim=1).float())


def _from_pretrained(path: Path) -> tuple[Any, Any, Any]:
    """Config, feature extractor and network of a folder; DataError names what is missing in it or does not fit."""
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
            f"{path}: the weights hold more than tensors, or are damaged, so they were not read; take safetensors"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(
            f"{path}: not a model that transformers can read ({str(error).strip().splitlines()[0]}); expected "
            "config.json, preprocessor_config.json and model.safetensors of an audio encoder"
        ) from error
    missing = sorted(set(report["missing_keys"]) - UNUSED)
    if missing:
        raise DataError(f"{path}: the weights lack {', '.join(missing[:5])} ({len(missing)} in all); fetch them again")
    if network.main_input_name not in SOUND_INPUTS or not hasattr(config, "num_hidden_layers"):
        raise DataError(
            f"{path}: a {config.model_type} model reads {network.main_input_name}, expected an audio encoder"
        )
    return config, extractor, network.get_encoder() if config.is_encoder_decoder else network


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON keeps them, without those that change no number."""
    kept = {key: value for key, value in values.items() if key not in NOT_FACTS}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


@dataclass(frozen=True, kw_only=True)
class Encoder(FrozenEncoder):
    """Any audio encoder that transformers knows; a subclass takes one kind of model only."""

    kind: ClassVar[str] = "encoder"
    model_type: ClassVar[str] = ""
    example: ClassVar[str] = "facebook/wav2vec2-base"

    @property
    def name(self) -> str:
        """Name in the table of embedders."""
        return self.kind

    def load(self) -> TransformersModel:
        """Load from a local folder, the models folder, the hub's cache, or the hub."""
        advice = (
            f"Try a hub id such as {self.kind}={self.example}, or give a folder with config.json, "
            f"preprocessor_config.json and model.safetensors, say in {models_folder()}"
        )
        path = resolve(self.checkpoint, name=self.kind, advice=advice)
        if path.is_file():
            raise DataError(f"{path}: expected the model's folder, with config.json beside the weights; got a file")
        model = TransformersModel(path, self.precision)
        if self.model_type not in ("", model.model_type):
            raise DataError(f"{path}: holds a {model.model_type} model; name it encoder={self.checkpoint}")
        return model


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2(Encoder):
    """wav2vec 2.0 (Baevski et al., NeurIPS 2020): one token per 20 ms."""

    kind, model_type, example = "wav2vec2", "wav2vec2", "facebook/wav2vec2-base"


@dataclass(frozen=True, kw_only=True)
class HuBERT(Encoder):
    """HuBERT (Hsu et al., TASLP 2021): one token per 20 ms."""

    kind, model_type, example = "hubert", "hubert", "facebook/hubert-base-ls960"


@dataclass(frozen=True, kw_only=True)
class WavLM(Encoder):
    """WavLM (Chen et al., JSTSP 2022): one token per 20 ms."""

    kind, model_type, example = "wavlm", "wavlm", "microsoft/wavlm-base"


@dataclass(frozen=True, kw_only=True)
class AST(Encoder):
    """Audio Spectrogram Transformer (Gong et al., INTERSPEECH 2021): patches of windows of 10.24 s, in 12 bands."""

    kind, model_type = "ast", "audio-spectrogram-transformer"
    example = "MIT/ast-finetuned-audioset-10-10-0.4593"
