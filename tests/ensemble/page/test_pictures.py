"""The pictures of a pair: on one scale, and only comparisons that can be made."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ensemble.page import pictures as module
from ensemble.page.media import Sound, difference_png, spectrogram, spectrogram_png
from ensemble.page.pictures import CLIP, DEVIATION, DIFFERENCE, NORMAL, Pair, pictures

RATE = 8000
rng = np.random.default_rng(0)


def sound(seconds: float, level: float, start_s: float = 0.0) -> Sound:
    return Sound((level * rng.normal(size=round(seconds * RATE))).astype(np.float32), RATE, start_s)


def pair(clip: Sound, normal: Sound | None, **values: Any) -> Pair:
    return Pair(clip, normal, ("a.wav", "b.wav"), "fan", "00", (clip.start_s, clip.start_s + clip.seconds), **values)


LOUD, QUIET = sound(2, 0.5), sound(2, 0.01)


def test_both_spectrograms_have_one_scale() -> None:
    both = pair(LOUD, QUIET)
    low, high = both.range_db
    assert both.png(CLIP) == spectrogram_png(spectrogram(LOUD), low, high)
    assert both.png(NORMAL) == spectrogram_png(spectrogram(QUIET), low, high)
    assert both.png(CLIP) != pair(LOUD, None).png(CLIP), "alone it has a scale of its own"


def test_equally_long_sounds_are_compared_column_by_column() -> None:
    both = pair(LOUD, QUIET)
    assert both.png(DIFFERENCE) == difference_png(spectrogram(LOUD), spectrogram(QUIET))
    assert [picture.title for picture in pictures(both, lambda kind, make: kind)][
        2
    ] == "This clip minus the normal clip"


def test_a_longer_clip_is_compared_with_the_mean() -> None:
    """Its columns are of other times, so columns of the normal clip say nothing of them."""
    both = pair(sound(3, 0.5), QUIET)
    S = spectrogram(QUIET)
    assert both.png(DIFFERENCE) == difference_png(spectrogram(both.clip), S.mean(axis=1, keepdims=True))
    assert both.png(DIFFERENCE) != difference_png(spectrogram(both.clip), S)
    titles = [picture.title for picture in pictures(both, lambda kind, make: kind)]
    assert titles[2] == "This clip minus the mean of the normal clip"


def test_titles_say_what_it_is() -> None:
    titles = [picture.title for picture in pictures(pair(LOUD, QUIET, what="This event"), lambda kind, make: kind)]
    assert titles == ["This event", "Nearest normal clip", "This event minus the normal clip"]


def test_pictures_that_there_are() -> None:
    alone = pair(LOUD, None)
    assert [picture.kind for picture in pictures(alone, lambda kind, make: kind)] == [CLIP]
    for kind in (NORMAL, DIFFERENCE, DEVIATION):
        with pytest.raises(KeyError):
            alone.png(kind)


def test_a_sentence_that_is_known_is_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "deviation_of", lambda *_: "found")
    locator: Any = SimpleNamespace(embedder=SimpleNamespace(sample_rate_hz=RATE))
    assert pair(LOUD, None, locator=locator).sentence == "found"
    assert pair(LOUD, None, locator=locator, where="known").sentence == "known"
    other: Any = SimpleNamespace(embedder=SimpleNamespace(sample_rate_hz=2 * RATE))
    assert pair(LOUD, None, locator=other).sentence == "", "statistics of another sample rate"


def test_the_event_is_marked_in_the_pictures_of_the_clip() -> None:
    clip = sound(4, 0.1, start_s=8.0)
    both = Pair(clip, QUIET, ("a.wav", "b.wav"), "fan", "00", (9.0, 11.0))
    marked = {picture.kind: 'class="event"' in picture.chart for picture in pictures(both, lambda kind, make: kind)}
    assert marked == {CLIP: True, NORMAL: False, DIFFERENCE: True}


def test_images_are_made_only_where_the_address_asks_for_them() -> None:
    both, asked = pair(LOUD, QUIET), list[bytes]()
    list(pictures(both, lambda kind, make: asked.append(make()) or "data:," if kind == CLIP else "/later"))
    assert asked == [both.png(CLIP)]


def test_names_are_escaped() -> None:
    named = Pair(LOUD, QUIET, ("<a>.wav", "b.wav"), "fan", "00", (0.0, 2.0))
    first = next(pictures(named, lambda kind, make: "data:,"))
    assert "&lt;a&gt;.wav" in first.chart
    assert "<a>" not in first.chart
