"""The level at which sounds are played, and their files."""

import io

import numpy as np

from ensemble.page.media import MAX_GAIN, PEAK, Sound, common_gain

EQUAL, SAME = "equal", "same"
LOUDNESS = (EQUAL, SAME)
"""Of two sounds that are compared: at the same loudness, or with the same gain, which keeps their true difference."""


def gain_of(sound: Sound, other: Sound | None, loudness: str) -> float:
    """The gain of a sound that is compared with another one; no sample of either is above PEAK.

    The gain of `other` beside `sound` is found by exchanging them. A silent sound has the gain 1.
    """
    if other is None or loudness == SAME:
        return common_gain([sound, other] if other else [sound])
    own, compared = rms(sound), rms(other)
    if not own or not compared:
        return common_gain([sound])
    target = min(
        (min(PEAK / float(np.abs(each.wave).max()), MAX_GAIN) * level)
        for each, level in ((sound, own), (other, compared))
    )
    return target / own


def rms(sound: Sound) -> float:
    """Root of the mean square of a sound."""
    return float(np.sqrt(np.mean(np.square(sound.wave, dtype=np.float64)))) if len(sound.wave) else 0.0


def wav(sound: Sound, gain: float) -> bytes:
    """A WAV file of 16-bit PCM."""
    import soundfile

    samples = (np.clip(sound.wave * np.float32(gain), -1, 1) * 32767).round().astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sound.rate_hz, subtype="PCM_16", format="WAV")
    return file.getvalue()
