"""Base of networks on a pretrained encoder: a checkpoint holds what was trained, and the sha256 of the encoder."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from embedders.networks.finetuned.trunk import Trunk, open_trunk
from embedders.networks.trained import TrainedEmbedder
from embedders.pretrained.frozen import refuse_other_weights, weights_note, windows

LONGEST_S = 30.0  # recordings are embedded in windows of at most this length


class OnEncoder(nn.Module):
    """A network on a pretrained encoder; the state dict leaves out frozen tensors of the encoder.

    trained: names of the encoder's tensors that are trained, as `note_trained` found them.
    """

    weights_sha256: Tensor

    def __init__(self, encoder: str, sample_rate_hz: int, min_samples: int) -> None:
        super().__init__()
        if not encoder:
            raise ValueError(
                "encoder is missing: name the encoder to train, such as --set encoder=beats=BEATs_iter3.pt"
            )
        self.spec, self.sample_rate_hz = encoder, sample_rate_hz
        self.trunk: Trunk = open_trunk(encoder, sample_rate_hz)
        model = self.trunk.model
        if model.min_samples > min_samples:
            raise ValueError(
                f"encoder={encoder}: needs waves of at least {model.min_samples} samples, more than the "
                f"supported {min_samples}; use another encoder"
            )
        self.sha256, self.longest = model.weights_sha256, model.max_samples
        self.encoder = self.trunk.network
        self.trained: set[str] = set()
        self.register_buffer("weights_sha256", weights_note(self.sha256))

    def note_trained(self) -> None:
        """Note which tensors of the encoder are trained: their names, because averages of weights are not trained."""
        named = self.encoder.named_parameters(remove_duplicate=False)
        self.trained = {name for name, parameter in named if parameter.requires_grad}

    def refuse_longer(self, waves: Tensor) -> None:
        """Raise ValueError for waves (..., time) that are longer than the encoder reads."""
        if self.longest and waves.shape[-1] > self.longest:
            raise ValueError(
                f"encoder={self.spec}: reads at most {self.longest} samples, got {waves.shape[-1]}; use "
                f"seconds={self.longest / self.sample_rate_hz:.4g} or less"
            )

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """All tensors but the encoder's frozen ones."""
        tensors = super().state_dict(*args, **kwargs)
        for name in self._frozen():
            del tensors[kwargs.get("prefix", "") + name]
        return tensors

    def _frozen(self) -> dict[str, Tensor]:
        return {f"encoder.{name}": x for name, x in self.encoder.state_dict().items() if name not in self.trained}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        refuse_other_weights(state_dict.get(f"{prefix}weights_sha256"), self.sha256, self.spec)
        state_dict |= {prefix + name: value for name, value in self._frozen().items()}
        cast(Any, super())._load_from_state_dict(state_dict, prefix, *args)


class EncoderEmbedder(TrainedEmbedder):
    """Embedder whose network is an `OnEncoder`; longer recordings are embedded as the mean over windows."""

    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length, as `TrainedEmbedder.embed`."""
        longest = self._longest()
        if waves.ndim < 2 or waves.shape[-1] <= longest:
            return super().embed(waves)
        parts = windows(torch.from_numpy(np.array(waves, dtype=np.float32, order="C")), longest)
        embeddings: np.ndarray = np.mean([TrainedEmbedder.embed(self, part.numpy()) for part in parts], axis=0)
        return embeddings

    def _longest(self) -> int:
        """Samples embedded at once."""
        network: Any = self.model.network
        longest = round(LONGEST_S * self.sample_rate_hz)
        return min(longest, network.longest or longest)
