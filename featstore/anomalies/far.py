"""What the other microphones hear of a generated fault: less of it, and by a path of their own.

A fault is rendered at the near microphone, and what that adds there (rendered minus recorded) reaches every other one.
The machine's own path to the far microphone is not known: a recording holds the machine and the noise together, and an
estimate from near to far would be that of the louder of them. So the path is random, the same for all faults of a
recording: a delay of 1 to 6 ms (0.3 to 2 m of air), then 20 ms of noise that decays by 60 dB in 28 ms. Its mean level
over frequencies is `far_db`.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from featstore.audio.near_far.mixes import Mixes
from featstore.audio.near_far.subtract import COPY
from featstore.clip import recording_of

FAR_DB = -15.0
"""Level of a fault at the far microphone against the near one; DCASE-like leakage is -15 to -6 dB."""

DELAY_S = (0.001, 0.006)
LENGTH_S, DECAY_S = 0.020, 0.004


def path_to(channel: int, recording: str, sample_rate_hz: int, far_db: float = FAR_DB) -> np.ndarray:
    """Response (time,) of the path of a fault to a channel of a recording, float64, of energy 10 ** (far_db / 10)."""
    rng = np.random.default_rng([crc32(recording.encode("utf-8", "surrogateescape")), channel])
    delay = round(rng.uniform(*DELAY_S) * sample_rate_hz)
    t = np.arange(max(1, round(LENGTH_S * sample_rate_hz))) / sample_rate_hz
    response = rng.normal(size=len(t)) * np.exp(-t / DECAY_S)
    response *= 10 ** (far_db / 20) / np.linalg.norm(response)
    return np.concatenate([np.zeros(delay), response])


def with_fault(
    columns: np.ndarray, rendered: np.ndarray, mixes: Mixes, channels: int, *, path: str, rate_hz: int, far_db: float
) -> np.ndarray:
    """The kept columns (time, n) of a recording with a fault, whose near column becomes `rendered` (time,).

    channels: how many the file has, of which a column may be the mean. path: of the clip; all windows of a recording
    have the same paths of sound. A column that is silent, or the near one times a constant, hears accordingly.
    """
    near = columns[:, mixes.near]
    added = rendered.astype(np.float64) - near
    own = mixes.sources[mixes.near]
    out = np.empty_like(columns)
    for i, source in enumerate(mixes.sources):
        if i == mixes.near:
            out[:, i] = rendered
            continue
        heard = [
            added if own == (channel,) or len(own) != 1 else _far(added, channel, path, rate_hz, far_db)
            for channel in source or range(channels)
        ]
        out[:, i] = _limited(columns[:, i], near, added, heard)
    return out


def _far(added: np.ndarray, channel: int, path: str, rate_hz: int, far_db: float) -> np.ndarray:
    """What is added at another microphone."""
    response = path_to(channel, recording_of(path), rate_hz, far_db)
    size = 1 << (len(added) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(added, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(added)]


def _limited(column: np.ndarray, near: np.ndarray, added: np.ndarray, heard: Sequence[np.ndarray]) -> np.ndarray:
    """A column with what it hears, clipped as the near one is; unplugged microphones and copies stay what they are."""
    power = float(np.dot(near, near))
    gain = float(np.dot(column, near)) / power if power else 0.0
    left = column - gain * near
    copied = float(np.dot(left, left)) <= COPY * float(np.dot(column, column))
    out = column + (gain * added if copied else np.mean(heard, axis=0))
    limit = max(1.0, float(np.abs(column).max()))
    return np.asarray(np.clip(out, -limit, limit), dtype=np.float32)
