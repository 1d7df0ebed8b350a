"""Players hold the whole event and what is around it, up to a limit that the card states."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ensemble.page.items import Item
from ensemble.page.media import Sound, recordings
from ensemble.page.scored import Scored, scored_of
from ensemble.report.sounds import Heard, Sounds, sounds_of
from ensemble.run import Detection
from featstore.clip import Clip
from featstore.table import ClipTable

RATE = 8000


@pytest.fixture
def heard(tmp_path: Path) -> Heard:
    """A recording of 8 s whose level rises by 0.1 each second, and a normal one of 2 s."""
    sf.write(tmp_path / "a.wav", np.repeat(np.arange(1, 9) / 10, RATE), RATE)
    sf.write(tmp_path / "n.wav", np.full(2 * RATE, 0.05), RATE)
    return Heard(recordings(tmp_path, RATE, "0", 100))


def item(start_s: float, end_s: float | None, *, reported: bool = True) -> Item:
    return Item(0, (0,), "a.wav", "fan", "00", start_s, end_s, 2.0, reported, float("nan"))


@pytest.fixture
def scored(detection: Detection) -> Scored:
    return replace(scored_of(detection, title="t"), nearest=["n.wav"] * 24)


def of(scored: Scored, path: str, what: Item, heard: Heard, seconds: float = 60) -> Sounds:
    clips = ClipTable.from_clips([Clip(path, "fan", "00", "test"), *list(scored.clips)[1:]])
    sounds = sounds_of(replace(scored, clips=clips), what, heard, seconds)
    assert sounds is not None
    return sounds


def wave(sounds: Sounds, which: int) -> np.ndarray:
    uri = sounds.players[which][0].uri
    assert uri.startswith("data:audio/flac;base64,")
    return np.asarray(sf.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))[0])


def test_a_player_holds_the_whole_event_and_a_second_around_it(scored: Scored, heard: Heard) -> None:
    sounds = of(scored, "a.wav#t=3,4", item(3, 6), heard)
    (own, kind), (normal, other) = sounds.players
    assert (kind, other) == ("clip", "normal")
    assert (own.start_s, own.seconds, own.title) == (2.0, 5.0, "This event, with up to 1 s around it")
    assert (normal.start_s, normal.seconds) == (0.0, 2.0)
    levels = wave(sounds, 0).reshape(5, RATE)[:, RATE // 2]
    np.testing.assert_allclose(levels / levels[0], np.array([3, 4, 5, 6, 7]) / 3, atol=1e-3)
    assert wave(sounds, 1)[0] / levels[0] == pytest.approx(0.05 / 0.3, abs=1e-3), "one gain for both players"
    quiet = of(scored, "a.wav#t=0,1", item(0, 1), heard)
    assert np.abs(wave(quiet, 0)).max() == pytest.approx(0.7, abs=1e-3), "a quiet machine becomes audible"
    assert [picture.kind for picture in sounds.pictures] == ["clip", "normal", "difference"]
    assert 'class="event"' in sounds.pictures[0].chart


def test_an_event_at_an_end_of_its_recording_has_nothing_around_it(scored: Scored, heard: Heard) -> None:
    (own, _), *_ = of(scored, "a.wav#t=0,1", item(0, 8), heard).players
    assert (own.start_s, own.seconds, own.title) == (0.0, 8.0, "This event, with up to 1 s around it")


def test_what_is_cut_is_said(scored: Scored, heard: Heard) -> None:
    (own, _), (normal, _) = of(scored, "a.wav#t=3,4", item(3, 7.5), heard, seconds=1.5).players
    assert (own.seconds, own.title) == (1.5, "This event: first 1.5 s of 0:04.5")
    assert normal.seconds == 1.5
    (clip, _), *_ = of(scored, "a.wav", item(0, 8), heard, seconds=3).players
    assert (clip.seconds, clip.title) == (3, "This clip: first 3 s of 0:08")
    (unknown, _), *_ = of(scored, "a.wav", item(0, None), heard, seconds=3).players
    assert (unknown.seconds, unknown.title) == (3, "This clip: first 3 s")
    (whole, _), *_ = of(scored, "a.wav", item(0, None), heard).players
    assert (whole.seconds, whole.title) == (8, "This clip")
    (window, _), *_ = of(scored, "a.wav#t=3,4", item(3, 4, reported=False), heard).players
    assert window.title == "This window, with up to 1 s around it"


def test_a_missing_recording_has_no_sounds(scored: Scored, heard: Heard) -> None:
    clips = scored.clips
    assert sounds_of(replace(scored, clips=clips), item(0, 1), Heard(lambda _: None), 1) is None
    alone = of(scored, "a.wav", item(0, 8), Heard(lambda path: None if path == "n.wav" else heard.listen(path)))
    assert [kind for _, kind in alone.players] == ["clip"]
    assert alone.missing == "n.wav"
    silent = of(scored, "a.wav", item(0, 1), Heard(lambda _: Sound(np.zeros(RATE, np.float32), RATE)))
    assert np.abs(wave(silent, 0)).max() == 0
