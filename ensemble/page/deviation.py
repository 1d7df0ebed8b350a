"""The deviation map of a clip as an image, and the sentence that names its strongest regions."""

import numpy as np

from ensemble.deviation.locate import Locator
from ensemble.page.media import BANDS, BLUE_RED, MAX_FRAMES, Sound, png
from featstore.mel import htk_hz, htk_mel

RANGE_Z = 10.0
"""Deviations of this many spreads and more have the strongest colour."""


def deviation_of(locator: Locator | None, sound: Sound, machine: str, section: str) -> str:
    """Where a sound of the locator's rate deviates from normal, in words."""
    regions = locator.regions(sound.wave, machine, section, start_s=sound.start_s) if locator else ()
    return "; ".join(map(str, regions)) or "no region stands out"


def map_png(z: np.ndarray, edges_hz: np.ndarray, rate_hz: int) -> bytes:
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
    return png((255 * level).round().astype(np.uint8), BLUE_RED)
