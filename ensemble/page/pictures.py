"""The pictures of a clip beside its nearest normal clip: spectrograms on one scale, their difference, the deviation.

Each picture has the same axes. Where its image comes from is for the caller to say: an address of the page that is
running, or the image itself in a file without a server.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from markupsafe import Markup

from ensemble.deviation.locate import Locator
from ensemble.page.charts import spectrogram_chart
from ensemble.page.deviation import deviation_of, map_png
from ensemble.page.media import Sound, difference_png, shared_range, spectrogram, spectrogram_png

Make = Callable[[], bytes]
Uri = Callable[[str, Make], str]
"""The address of the picture of a kind, and how to make its PNG if the caller wants it now."""

ALIGNED_S = 0.05
"""Sounds whose lengths differ by less are compared column by column; else with the mean of the normal one."""

CLIP, NORMAL, DIFFERENCE, DEVIATION = "clip", "normal", "difference", "deviation"


@dataclass(frozen=True)
class Picture:
    """A picture with its title; kind is one of CLIP, NORMAL, DIFFERENCE and DEVIATION."""

    kind: str
    title: str
    chart: Markup


@dataclass(frozen=True)
class Player:
    """A sound to play: where it is, and the time of its first sample in the recording, in seconds.

    event: start and end of what is reported, in seconds of the recording; playing begins there. None: the whole sound.
    """

    title: str
    uri: str
    start_s: float
    seconds: float
    event: tuple[float, float] | None = None


@dataclass(frozen=True)
class Pair:
    """A clip and its nearest normal clip, None where that is unknown or not found; names: their keys.

    Both sounds have the same sample rate. locator: statistics of normal sound, None without a deviation map.
    event: start and end of what is reported, in seconds of the recording. where: the sentence, None to find it.
    what: the title of the first sound, such as `This event`.
    """

    clip: Sound
    normal: Sound | None
    names: tuple[str, str]
    machine: str
    section: str
    event: tuple[float, float]
    locator: Locator | None = None
    where: str | None = None
    what: str = "This clip"

    @cached_property
    def levels(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Spectrograms of both in dB."""
        return spectrogram(self.clip), spectrogram(self.normal) if self.normal else None

    @cached_property
    def range_db(self) -> tuple[float, float]:
        """Darkest and brightest level of both pictures."""
        return shared_range([levels for levels in self.levels if levels is not None])

    def png(self, kind: str) -> bytes:
        """The image of a kind; KeyError where there is none."""
        own, normal = self.levels
        if kind == CLIP:
            return spectrogram_png(own, *self.range_db)
        if kind == NORMAL and normal is not None:
            return spectrogram_png(normal, *self.range_db)
        if kind == DIFFERENCE and normal is not None:
            return difference_png(own, normal if self.aligned else normal.mean(axis=1, keepdims=True))
        if kind == DEVIATION and self.has_deviation and self.locator:
            z = self.locator.deviation(self.clip.wave, self.machine, self.section)
            return map_png(z, self.locator.edges_hz, self.clip.rate_hz)
        raise KeyError(kind)

    @property
    def has_deviation(self) -> bool:
        """Whether the statistics are for sounds of this sample rate."""
        return self.locator is not None and self.locator.embedder.sample_rate_hz == self.clip.rate_hz

    @property
    def aligned(self) -> bool:
        """Whether both sounds are equally long, so that their spectrograms have the same columns."""
        return self.normal is not None and abs(self.clip.seconds - self.normal.seconds) < ALIGNED_S

    @cached_property
    def sentence(self) -> str:
        """Where the clip deviates from normal, in words; empty where that is unknown."""
        if self.where is not None:
            return self.where
        return deviation_of(self.locator, self.clip, self.machine, self.section) if self.has_deviation else ""


def pictures(pair: Pair, uri: Uri) -> Iterator[Picture]:
    """The pictures of a pair, that of the clip first; `uri` gives the address of each image."""
    titles = {CLIP: pair.what, NORMAL: "Nearest normal clip", DIFFERENCE: f"{pair.what} minus the normal clip"}
    if not pair.aligned:
        titles[DIFFERENCE] = f"{pair.what} minus the mean of the normal clip"
    titles[DEVIATION] = "Deviation from normal" + (f": {pair.sentence}" if pair.sentence else "")
    for kind, title in titles.items():
        if (kind in (NORMAL, DIFFERENCE) and pair.normal is None) or (kind == DEVIATION and not pair.has_deviation):
            continue
        sound = pair.normal if kind == NORMAL and pair.normal else pair.clip
        label = f"{title}; log-mel spectrogram of {pair.names[kind == NORMAL]}, {sound.seconds:.1f} s, "
        label += f"up to {sound.rate_hz / 2000:g} kHz"
        address = uri(kind, lambda kind=kind: pair.png(kind))  # type: ignore[misc]
        event = None if kind == NORMAL else pair.event
        chart = spectrogram_chart(label, address, sound.seconds, sound.rate_hz, start_s=sound.start_s, event=event)
        yield Picture(kind, title, chart)
