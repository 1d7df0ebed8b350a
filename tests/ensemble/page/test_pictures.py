"""The pictures of a pair: which there are, and what they show."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.page.media import Sound, png, spectrogram
from ensemble.page.pictures import CLIP, DEVIATION, DIFFERENCE, NORMAL, Pair, pictures

RATE = 16_000


@pytest.fixture
def pair(rng: np.random.Generator) -> Pair:
    loud, quiet = (Sound((level * rng.normal(size=RATE)).astype(np.float32), RATE) for level in (0.1, 0.05))
    return Pair(loud, quiet, ("<a>.wav", "b.wav"), "fan", "00", (0.0, 1.0))


def test_a_pair_has_three_pictures_on_one_scale(pair: Pair) -> None:
    kinds = [picture.kind for picture in pictures(pair, lambda kind, make: kind)]
    assert kinds == [CLIP, NORMAL, DIFFERENCE]
    low, high = pair.range_db
    assert low < high
    assert pair.normal is not None
    level = np.clip((spectrogram(pair.normal)[::-1] - low) / (high - low), 0, 1)
    assert pair.png(NORMAL) == png((255 * level).round().astype(np.uint8))


def test_a_clip_alone_has_its_own_picture_only(pair: Pair) -> None:
    alone = replace(pair, normal=None)
    assert [picture.kind for picture in pictures(alone, lambda kind, make: kind)] == [CLIP]
    for kind in (NORMAL, DIFFERENCE, DEVIATION, "other"):
        with pytest.raises(KeyError):
            alone.png(kind)


def test_images_are_made_only_where_the_address_asks_for_them(pair: Pair) -> None:
    asked: list[bytes] = []
    list(pictures(pair, lambda kind, make: asked.append(make()) or "data:," if kind == CLIP else "/later"))
    assert asked == [pair.png(CLIP)]


def test_names_are_escaped(pair: Pair) -> None:
    first = next(pictures(pair, lambda kind, make: "data:,"))
    assert "&lt;a&gt;.wav" in first.chart
    assert "<a>" not in first.chart
