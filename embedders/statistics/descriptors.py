"""`descriptors`: statistics over time of the classical descriptors of librosa, one view per statistic.

The spectrum of a clip is computed once, and all descriptors but the zero crossings read it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import librosa
import numpy as np
import torch
from librosa.filters import chroma
from librosa.onset import onset_strength

from embedders.spectrogram import mel_filter_bank, stft_power
from embedders.statistics.logmel import STATISTICS, check_names, statistics
from embedders.statistics.pooled import Pooled

LOWEST_OCTAVE_HZ = 200.0
"""Lower end of the first octave of the spectral contrast; one more band lies below it."""

MAX_OCTAVES = 6
SILENT_RMS = 1e-5
"""Lower limit of the RMS amplitude, -100 dB re full scale, as `amin` is that of the power of a mel."""


@dataclass(frozen=True, kw_only=True)
class Descriptors(Pooled):
    """Embedder: descriptors of every frame, pooled over time; one view per name in `stats` (see logmel.STATISTICS).

    Columns (see `blocks`): MFCC of the log-mel in dB with first and second deltas, chroma, spectral contrast (dB),
    centroid, bandwidth and roll-off (kHz), flatness (dB), RMS of the windowed frame (dB), zero crossings (%), onset
    strength, and the largest value of the tempogram in every octave of lags. Units differ: detectors should
    standardise. n_mfcc: coefficients. tempo_frames: window of the tempogram. Computed on the CPU.
    """

    name: ClassVar[str] = "descriptors"
    n_mfcc: int = 20
    tempo_frames: int = 256
    stats: tuple[str, ...] = STATISTICS

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_names(self.stats)
        if not 1 <= self.n_mfcc <= self.n_mels:
            raise ValueError(f"n_mfcc={self.n_mfcc}: expected 1 to n_mels, {self.n_mels}")
        if self.tempo_frames < 2:
            raise ValueError(f"tempo_frames={self.tempo_frames}: expected at least 2 frames")
        if self.sample_rate_hz < 4 * LOWEST_OCTAVE_HZ:
            raise ValueError(f"sample_rate_hz={self.sample_rate_hz}: expected at least {4 * LOWEST_OCTAVE_HZ:g}")

    @property
    def octaves(self) -> int:
        """Octaves of the spectral contrast."""
        return min(MAX_OCTAVES, int(np.log2(self.sample_rate_hz / 2 / LOWEST_OCTAVE_HZ)))

    @property
    def blocks(self) -> dict[str, slice]:
        """Columns of each descriptor."""
        sizes = {"mfcc": self.n_mfcc, "delta": self.n_mfcc, "delta2": self.n_mfcc, "chroma": 12}
        sizes["contrast"] = self.octaves + 1
        sizes |= dict.fromkeys(("centroid", "bandwidth", "rolloff", "flatness", "rms", "crossings", "onset"), 1)
        sizes["tempogram"] = self.tempo_frames.bit_length() - 1
        ends = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}

    @property
    def dim(self) -> int:
        """Number of columns."""
        return int(self.blocks["tempogram"].stop)

    @property
    def pooled_views(self) -> tuple[str, ...]:
        """One view per statistic."""
        return self.stats

    def embed(self, waves: np.ndarray) -> np.ndarray:
        """Embed recordings of equal length: waves float32 (batch, time) to float32 (batch, *shape)."""
        clips = torch.from_numpy(np.array(waves, dtype=np.float32))  # a copy, because torch refuses read-only arrays
        pooled = np.empty((len(clips), len(self.stats), self.dim), dtype=np.float32)
        for row in range(len(clips)):
            clip = clips[row : row + 1]
            power = stft_power(clip, self)[0].T.numpy()
            frames = torch.from_numpy(self.frames(clip[0].numpy(), power))
            pooled[row] = statistics(frames[None], self.stats)[0].numpy()
        return pooled.reshape(len(clips), *self.shape)

    def frames(self, wave: np.ndarray, power: np.ndarray) -> np.ndarray:
        """Descriptors (frame, dim) of a wave (time,) and its power spectrum (bin, frame)."""
        sr, S = self.sample_rate_hz, np.sqrt(power)
        log_mel = 10 * np.log10(np.maximum(mel_filter_bank(self) @ power, self.amin))
        mfcc = librosa.feature.mfcc(S=log_mel, n_mfcc=self.n_mfcc)
        centroid = librosa.feature.spectral_centroid(S=S, sr=sr)
        rms = librosa.feature.rms(S=S, frame_length=self.n_fft)
        onset = onset_strength(S=log_mel, sr=sr)
        tempogram = librosa.feature.tempogram(onset_envelope=onset, win_length=self.tempo_frames)
        rows = [
            mfcc,
            librosa.feature.delta(mfcc, mode="nearest"),
            librosa.feature.delta(mfcc, order=2, mode="nearest"),
            librosa.util.normalize(_chroma_filters(sr, self.n_fft) @ power, norm=np.inf, axis=0),
            librosa.feature.spectral_contrast(S=S, sr=sr, fmin=LOWEST_OCTAVE_HZ, n_bands=self.octaves),
            centroid / 1000,
            librosa.feature.spectral_bandwidth(S=S, sr=sr, centroid=centroid) / 1000,
            librosa.feature.spectral_rolloff(S=S, sr=sr) / 1000,
            10 * np.log10(librosa.feature.spectral_flatness(S=S)),
            20 * np.log10(np.maximum(rms, SILENT_RMS)),
            100 * librosa.feature.zero_crossing_rate(
                wave, frame_length=self.n_fft, hop_length=self.hop, center=self.center
            ),
            onset[None],
            np.stack([tempogram[2**k : 2 ** (k + 1)].max(axis=0) for k in range(self.tempo_frames.bit_length() - 1)]),
        ]  # fmt: skip
        return np.concatenate(rows).T.astype(np.float32)


@lru_cache(maxsize=4)
def _chroma_filters(sample_rate_hz: int, n_fft: int) -> np.ndarray:
    """Filters of the twelve pitch classes (12, n_fft // 2 + 1), in concert pitch, so that clips are comparable."""
    filters: np.ndarray = chroma(sr=sample_rate_hz, n_fft=n_fft, tuning=0.0)
    return filters
