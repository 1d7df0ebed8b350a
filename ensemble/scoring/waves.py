"""A wave in memory, prepared as the audio reader prepares a file."""

import numpy as np

from featstore.audio.measure import UNKNOWN
from featstore.audio.near_far.mixes import Mixes
from featstore.audio.opened import BLOCK_FRAMES
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import Kept, Recording, mixed
from featstore.errors import RejectedAudio


def kept_channels(wave: np.ndarray, rate_hz: int, mixes: Mixes) -> np.ndarray:
    """What mixes keep of a wave (time,) or (time, channels): (time, n) float32; integers are scaled to full scale 1.

    RejectedAudio for a wave without samples, without that channel, or with values that are not finite.
    """
    wave = np.asarray(wave)
    if wave.ndim == 1:
        wave = wave[:, None]
    if wave.ndim != 2 or wave.dtype.kind not in "fi" or not wave.size or rate_hz < 1:
        raise RejectedAudio(
            f"expected samples (time,) or (time, channels) and their rate, got {wave.dtype} of shape {wave.shape} at "
            f"{rate_hz} Hz"
        )
    if wave.shape[1] > wave.shape[0]:
        shape = f"{wave.shape[1]} channels of {wave.shape[0]} samples"
        raise RejectedAudio(f"{shape}: expected (time, channels); transpose the wave")
    missing = mixes.missing(wave.shape[1])
    if missing is not None:
        raise RejectedAudio(f"channel {missing} does not exist, the wave has {wave.shape[1]}")
    scale = np.float32(1 / -float(np.iinfo(wave.dtype).min)) if wave.dtype.kind == "i" else np.float32(1)
    with np.errstate(over="ignore"):  # refused below
        kept = np.asarray(mixes.columns(wave).astype(np.float32) * scale)
    if not np.isfinite(kept).all():
        raise RejectedAudio("contains NaN or infinite samples")
    return kept


def prepared(wave: np.ndarray, rate_hz: int, target_hz: int, policy: AudioPolicy, min_samples: int) -> Recording:
    """The wave of kept channels (time, n) at the rate and with the length that an embedder reads."""
    _, seconds = policy.fixed_seconds()
    frames = len(wave) if seconds is None else min(len(wave), max(1, round(seconds * rate_hz)))
    columns = _resampled(wave[:frames], rate_hz, target_hz)
    kept = Kept(columns, target_hz, rate_hz, len(wave), wave.shape[1], "", UNKNOWN)
    return mixed(kept, *policy.mixes.finished(columns), policy, min_samples)


def _resampled(wave: np.ndarray, rate_hz: int, target_hz: int) -> np.ndarray:
    """In the blocks of the audio reader, so that the numbers are the same."""
    import soxr

    if rate_hz == target_hz:
        return wave
    n = wave.shape[1]
    resample = soxr.ResampleStream(rate_hz, target_hz, n, dtype="float32")
    starts = range(0, len(wave), BLOCK_FRAMES)
    parts = [resample.resample_chunk(wave[i : i + BLOCK_FRAMES], last=i + BLOCK_FRAMES >= len(wave)) for i in starts]
    return np.concatenate([part.reshape(-1, n) for part in parts])
