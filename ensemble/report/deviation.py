"""The deviation map of a clip beside its spectrogram, with the sentence that names its strongest regions."""

import numpy as np
from markupsafe import Markup

from ensemble.deviation.locate import Locator
from ensemble.report.charts import spectrogram_chart
from ensemble.report.media import BANDS, MAX_FRAMES, Sound, data_uri, png
from featstore.clip import Clip
from featstore.mel import htk_hz, htk_mel

RANGE_Z = 10.0
"""Deviations of this many spreads and more have the strongest colour."""

_ANCHORS = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
"""RGB from blue (quieter than normal) over white (normal) to red (louder)."""


def deviation_chart(locator: Locator, sound: Sound, clip: Clip) -> tuple[str, Markup] | None:
    """The sentence and the chart of a clip; None where the statistics are for sounds of another sample rate."""
    if sound.rate_hz != locator.embedder.sample_rate_hz:
        return None
    z = locator.deviation(sound.wave, clip.machine, clip.section)
    start_s = clip.window.start_s if clip.window else 0.0
    regions = locator.regions(sound.wave, clip.machine, clip.section, start_s=start_s)
    sentence = "; ".join(map(str, regions)) or "no region stands out"
    label = f"Deviation from normal of {clip.path}: {sentence}"
    return sentence, spectrogram_chart(label, map_uri(z, locator.edges_hz, sound.rate_hz), sound.seconds, sound.rate_hz)


def map_uri(z: np.ndarray, edges_hz: np.ndarray, rate_hz: int) -> str:
    """A deviation map (frames, mels) as a PNG with the frequency axis of the spectrograms, low bands at the bottom.

    Where several frames share a column, the one furthest from 0 is shown.
    """
    starts = np.unique(np.linspace(0, len(z), min(len(z), MAX_FRAMES), endpoint=False).astype(int))
    high, low = (extreme.reduceat(z, starts) for extreme in (np.maximum, np.minimum))
    columns = np.where(high >= -low, high, low)
    centres_hz = htk_hz((np.arange(BANDS) + 0.5) / BANDS * htk_mel(np.array(rate_hz / 2)))
    band = np.searchsorted(edges_hz, centres_hz, side="right") - 1
    shown = np.where((band < 0) | (band >= z.shape[1]), 0, columns[:, np.clip(band, 0, z.shape[1] - 1)])
    level = np.clip(0.5 + shown.T[::-1] / (2 * RANGE_Z), 0, 1)
    return data_uri("image/png", png((255 * level).round().astype(np.uint8), _ANCHORS))
