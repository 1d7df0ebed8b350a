"""Applies a trained `stargan` to waves: gains of mel bands over time filter the recording itself, phases stay."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from embedders.networks.frames import SPREAD_DB, scaled
from embedders.networks.objectives.names import NORMAL
from embedders.networks.translation.stargan import StarGAN, Translate
from embedders.spectrogram import MelConfig, mel_filter_bank
from featstore.errors import DataError


def open_translator(path: Path) -> "Translator":
    """The translator in a checkpoint of `stargan`, read once per file; DataError where it cannot be used."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0  # the reading says what is wrong
    return _opened(path, changed)


@lru_cache(maxsize=4)
def _opened(path: Path, changed: int) -> "Translator":
    return Translator(path)


class Translator:
    """Normal waves to waves with a confirmed kind of fault; the same input gives the same output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.embedder = StarGAN(checkpoint=str(path))
        self.classes = self.embedder.trained.classes
        if not all(isinstance(name, str) and name.count("|") == 1 for name in self.classes):
            raise DataError(f"{path}: its classes are not machine|state; train again")
        model = self.embedder.model
        assert isinstance(model, Translate)
        self.model = model

    @property
    def fingerprint(self) -> str:
        """The sha256 over weights and settings."""
        return self.embedder.trained.fingerprint

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Machine and kind of every fault that it can make."""
        pairs = [tuple(name.split("|")) for name in self.classes]
        return [(machine, kind) for machine, kind in pairs if kind != NORMAL]

    @torch.inference_mode()
    def __call__(self, wave: np.ndarray, rate_hz: int, machine: str, kind: str) -> np.ndarray:
        """The wave float32 (time,) with the fault; DataError for a fault that is not among `faults`."""
        if (machine, kind) not in self.faults:
            known = ", ".join(f"{other} {fault}" for other, fault in self.faults)
            raise DataError(f"{self.path}: has no fault {kind!r} of {machine!r}; it has {known}")
        config = self.model.network.config
        own = wave if rate_hz == config.sample_rate_hz else soxr.resample(wave, rate_hz, config.sample_rate_hz)
        x = torch.from_numpy(np.array(own, dtype=np.float32))
        x = torch.nn.functional.pad(x, (0, max(0, config.min_samples - len(x))))[None]
        (S,) = self.model.network.front(x)
        number = self.classes.index(f"{machine}|{kind}")
        gains = self.model.translate(scaled(S), torch.tensor([number])) - scaled(S)
        change = filtered_change(x, gains * SPREAD_DB, config)[0].numpy()
        if rate_hz != config.sample_rate_hz:
            change = soxr.resample(change, config.sample_rate_hz, rate_hz)
        out = wave.astype(np.float32)  # a copy
        n = min(len(out), len(change))
        out[:n] += change[:n]
        if not np.isfinite(out).all():
            raise DataError(f"{self.path}: {kind} of {machine} gives values that are not finite; train again")
        return out


def filtered_change(waves: Tensor, gains_db: Tensor, config: MelConfig) -> Tensor:
    """What gains (batch, mel, frame) in dB add to waves (batch, time); zeros where all gains are 0.

    The gain of a frequency bin is the mean of those of its mels by the weights of the filters.
    """
    window = torch.hann_window(config.n_fft)
    S = torch.stft(waves, config.n_fft, config.hop, window=window, pad_mode="constant", return_complex=True)
    factors = torch.pow(10.0, (bin_weights(config) @ gains_db[:, :, : S.shape[2]]) / 20) - 1
    return torch.istft(S * factors, config.n_fft, config.hop, window=window, length=waves.shape[1])


@lru_cache(maxsize=4)
def bin_weights(config: MelConfig) -> Tensor:
    """Weight of every mel in the gain of every bin, (bin, mel), rows of sum 1; 0 outside of all filters."""
    weights = mel_filter_bank(config).T.copy()
    total = weights.sum(axis=1, keepdims=True)
    return torch.from_numpy(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))
