"""What all pooled log-mel embedders share: a recording's log-mel spectrogram, reduced over time to a few views."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from embedders import fingerprint
from embedders.spectrogram import MelConfig, log_mel, shortest_wave


@dataclass(frozen=True, kw_only=True)
class PooledLogMel(MelConfig, ABC):
    """Log-mel front end and embedding; a subclass names its views and pools the frames.

    The absolute level stays in the embedding (dB re full scale), since many faults change it; per-section
    standardisation is the detectors' matter. Nothing here depends on the device but speed.
    """

    device: str = "cpu"

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in the table of embedders."""

    @property
    @abstractmethod
    def pooled_views(self) -> tuple[str, ...]:
        """Name of every vector that `pool` returns, in order."""

    @abstractmethod
    def pool(self, S: Tensor) -> Tensor:
        """Log-mel (batch, frame, mel) to (batch, views, mel)."""

    @property
    def views(self) -> tuple[str, ...]:
        """Names along the first axis of `shape`; () if there is only one view."""
        return self.pooled_views if len(self.pooled_views) > 1 else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(views, n_mels), or (n_mels,) for a single view."""
        return (len(self.views), self.n_mels) if self.views else (self.n_mels,)

    @property
    def min_samples(self) -> int:
        """Shortest wave `embed` takes, one window; the caller pads shorter recordings with zeros."""
        return shortest_wave(self)

    @property
    def config(self) -> Mapping[str, object]:
        """Every field but the device, as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "device"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def fingerprint(self) -> str:
        """Equal for two embedders exactly if their embeddings may share a matrix."""
        return fingerprint(type(self).__name__, self.config)

    @torch.no_grad()
    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape)."""
        waves = np.ascontiguousarray(waves, dtype=np.float32)
        batch = torch.from_numpy(waves if waves.flags.writeable else waves.copy()).to(self.device)
        S = log_mel(batch, self)
        # One clip at a time stays in a CPU's cache; an accelerator wants them all.
        parts = torch.split(S, 1) if S.device.type == "cpu" and len(S) else [S]
        pooled = torch.cat([self.pool(part) for part in parts])
        embeddings: np.ndarray = pooled.reshape(len(waves), *self.shape).cpu().numpy()
        return embeddings
