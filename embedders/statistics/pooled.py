"""Bases of embedders that pool frames of a recording over time to a few views."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from embedders import fingerprint
from embedders.spectrogram import MelConfig, log_mel


@dataclass(frozen=True, kw_only=True)
class Pooled(MelConfig, ABC):
    """Embedder whose views are statistics over time; a subclass defines `name`, `pooled_views`, `dim` and `embed`."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def pooled_views(self) -> tuple[str, ...]:
        """Names of the vectors of a clip, in order."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of each vector."""

    @property
    def views(self) -> tuple[str, ...]:
        """Names along the first axis of `shape`; () if there is a single view."""
        return self.pooled_views if len(self.pooled_views) > 1 else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one embedding: (views, dim), or (dim,) for a single view."""
        return (len(self.views), self.dim) if self.views else (self.dim,)

    @property
    def min_samples(self) -> int:
        """Shortest wave that `embed` accepts, in samples: one window; callers pad shorter recordings with zeros."""
        return self.n_fft

    @property
    def config(self) -> Mapping[str, object]:
        """Every field but the device, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "device"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def fingerprint(self) -> str:
        """Equal if and only if two embedders compute the same numbers."""
        return fingerprint(type(self).__name__, self.config)


@dataclass(frozen=True, kw_only=True)
class PooledLogMel(Pooled):
    """Log-mel front end and pooling; a subclass defines `name`, `pooled_views` and `pool`.

    The absolute level stays in the embedding (dB re full scale), because many faults change it; detectors may
    standardise per section. The device changes speed only.
    """

    device: str = "cpu"

    @property
    def dim(self) -> int:
        """One value per mel."""
        return self.n_mels

    @abstractmethod
    def pool(self, S: Tensor) -> Tensor:
        """Log-mel (batch, frame, mel) to (batch, views, mel)."""

    def log_mel(self, waves: np.ndarray) -> np.ndarray:
        """The spectrograms that are pooled, in dB: waves float32 (batch, time) to float32 (batch, frames, mels)."""
        S: np.ndarray = self._log_mel(waves).cpu().numpy()
        return S

    def _log_mel(self, waves: np.ndarray) -> Tensor:
        waves = np.ascontiguousarray(waves, dtype=np.float32)
        return log_mel(torch.from_numpy(waves if waves.flags.writeable else waves.copy()).to(self.device), self)

    @torch.no_grad()
    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape)."""
        S = self._log_mel(waves)
        # On a CPU one clip at a time fits the cache; an accelerator is faster with all at once.
        parts = torch.split(S, 1) if S.device.type == "cpu" and len(S) else [S]
        pooled = torch.cat([self.pool(part) for part in parts])
        embeddings: np.ndarray = pooled.reshape(len(waves), *self.shape).cpu().numpy()
        return embeddings
