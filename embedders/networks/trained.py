"""Base of all trained embedders: a network and its training objective in one module, loaded from a checkpoint.

A network has two methods. `front(waves)` computes features without parameters: the wave or spectra first, spectrograms
as (batch, frequency, frame). `forward(*features)` returns embeddings (batch, branch, dim) if the network classifies,
residuals (batch, position, mel) if it reconstructs, or what else its objective reads (see `objectives/`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from embedders.build_limit import BuildLimit, TooLargeError
from embedders.networks.checkpoint import Trained, fill, load
from embedders.networks.limits import check_values
from embedders.networks.objectives.classify import Classify
from embedders.networks.objectives.objective import Objective
from featstore.errors import DataError, reason_of

NOT_BUILT = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What networks and losses raise for values of a file that nobody foresaw."""


@dataclass(frozen=True, kw_only=True)
class TrainedEmbedder:
    """Embedder: a network trained by `featstore train`; a subclass names its config, network and objective.

    output: "embedding", or for classifiers "posterior": the log probability of every section, which the detector
    `posterior` reads.
    """

    checkpoint: str = ""
    output: str = "embedding"
    device: str = "cpu"

    name: ClassVar[str]
    config_type: ClassVar[type]
    network_type: ClassVar[Callable[[Any], nn.Module]]
    objective_type: ClassVar[type[Objective]] = Classify
    code_version: ClassVar[int] = 1  # raised when a change of the code changes the vectors of the same weights
    n_channels: ClassVar[int] = 1  # of a recording that are read together, see featstore.building.work.channels_of

    def __post_init__(self) -> None:
        """Check the name of the output."""
        if self.output not in self.objective_type.outputs:
            raise ValueError(
                f"unknown output {self.output!r} of {self.name}; choose from {', '.join(self.objective_type.outputs)}"
            )

    @cached_property
    def trained(self) -> Trained:
        """Content of the checkpoint."""
        if not self.checkpoint:
            raise DataError(
                f"{self.name} needs a checkpoint: write {self.name}=CHECKPOINT, made by `featstore train {self.name}`"
            )
        return load(Path(self.checkpoint), self.name)

    @cached_property
    def settings(self) -> Any:
        """Config of the network."""
        return read_config(self.config_type, self.trained.config, Path(self.checkpoint))

    @cached_property
    def model(self) -> Objective:
        """Network and objective, ready to embed."""
        return self.filled(self.trained.classes)

    def filled(self, classes: tuple[str, ...]) -> Objective:
        """The model for these classes with the weights of the checkpoint; DataError where they do not fit."""
        path, tensors = Path(self.checkpoint), self.trained.tensors
        # The weights of a pretrained encoder are in a file of their own.
        limit = BuildLimit() if getattr(self.settings, "encoder", "") else BuildLimit.of_tensors(tensors)
        try:
            with limit:
                model = make_model(type(self), self.settings, classes, self.trained.loss)
        except TooLargeError as error:
            raise DataError(f"{path}: its config is of a larger network than its weights; train again") from error
        except NOT_BUILT as error:
            raise DataError(f"{path}: its network cannot be built ({reason_of(error)}); train again") from error
        fill(model, tensors, path)
        return model.eval().to(self.device)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waves the network was trained on."""
        return int(self.settings.sample_rate_hz)

    @property
    def min_samples(self) -> int:
        """Shortest wave that `embed` accepts, in samples."""
        return int(self.settings.min_samples)

    @property
    def views(self) -> tuple[str, ...]:
        """Names along the first axis of `shape`; () if there is a single view."""
        return self.objective_type.views

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one embedding: (d,) or (views, d)."""
        d = self.objective_type.columns(self.settings, self.trained.classes, self.output)
        return (len(self.views), d) if self.views else (d,)

    @property
    def config(self) -> Mapping[str, object]:
        """Network, loss, classes, fingerprint and number of weights as JSON values; the checkpoint by its file name."""
        return {
            "checkpoint": Path(self.checkpoint).name,
            "output": self.output,
            "weights": self.trained.fingerprint,
            "parameters": sum(tensor.numel() for tensor in self.trained.tensors.values()),
            "network": dict(self.trained.config),
            "loss": dict(self.trained.loss),
            "classes": list(self.trained.classes),
        }

    @property
    def fingerprint(self) -> str:
        """Equal if and only if two embedders compute the same numbers."""
        from embedders import fingerprint

        code = {"code": self.code_version} if self.code_version > 1 else {}
        return fingerprint(self.name, {"output": self.output, "weights": self.trained.fingerprint, **code})

    @torch.inference_mode()
    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape).

        With `n_channels` above 1, waves are (batch, n_channels, time).
        """
        channels = (self.n_channels,) if self.n_channels > 1 else ()
        if waves.shape[1:-1] != channels or waves.ndim < 2 or waves.shape[-1] < self.min_samples:
            axes = ", ".join(map(str, ("batch", *channels, "time")))
            raise ValueError(f"expected waves ({axes}) of at least {self.min_samples} samples, got {waves.shape}")
        if not len(waves):
            return np.empty((0, *self.shape), np.float32)
        batch = torch.from_numpy(np.array(waves, dtype=np.float32, order="C")).to(self.device)
        features = self.model.network.front(batch)  # type: ignore[operator]
        vectors: np.ndarray = self.model.vectors(features, self.output).float().cpu().numpy()
        return vectors


def make_model(
    kind: type[TrainedEmbedder], config: Any, classes: tuple[str, ...], loss: Mapping[str, Any]
) -> Objective:
    """Network and objective with fresh weights."""
    return kind.objective_type(kind.network_type(config), config.dim, classes, loss)


def plain(config: Any) -> dict[str, Any]:
    """Fields of a config as JSON values."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def read_config(config_type: type, values: Mapping[str, Any], path: Path) -> Any:
    """Inverse of `plain`; DataError if the values do not fit this version."""
    try:
        check_values(config_type, values)
        return config_type(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except (ArithmeticError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its config does not fit this version ({error}); train again") from error
