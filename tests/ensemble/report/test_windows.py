"""The report of windows: events, names with times, and sound of the window only."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from report_plant import plant as whole
from report_plant import store_of
from window_store import plant, window_store

from ensemble.page import media
from ensemble.page.media import recordings
from ensemble.recipe import Member, Recipe
from ensemble.report.build import ReportOptions, report_html
from ensemble.run import Detection, detect
from featstore.clip import window_path

RATE = 8000
KNN = Recipe((Member("e", "knn:k=1"),))


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return detect(window_store(tmp_path_factory.mktemp("s") / "s", plant(train=6, test=10)), KNN)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One second each of 0.1, 0.2, ... in the first channel, and silence in the second."""
    wave = np.repeat(np.arange(1, 9) / 10, RATE)
    sf.write(tmp_path / "a.wav", np.stack([wave, 0 * wave], axis=1), RATE, subtype="FLOAT")
    return tmp_path


def test_the_page_has_events_and_metrics_of_recordings(detection: Detection) -> None:
    text = report_html(detection, ReportOptions())
    assert 'id="events"' in text
    assert "An event is a run of neighbouring reported windows." in text
    assert "of recordings, scored by the maximum of their windows" in text
    assert re.search(r'<span class="span">0:\d\d to [0-2]:\d\d</span>', text)
    assert "#t=" not in re.sub(r"<script>.*?</script>", "", text.partition('id="recipe"')[0].partition("<main>")[2])


def test_the_page_without_windows_has_clips(tmp_path: Path) -> None:
    text = report_html(detect(store_of(tmp_path / "s", whole()), KNN), ReportOptions())
    assert "An event is" not in text
    assert re.search(r"<p>\d+ reported clips?[.,]", text)
    assert "scored by" not in text


def test_only_the_window_is_read(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = sf.SoundFile.read

    def counted(self: sf.SoundFile, frames: int = -1, **options: object) -> np.ndarray:
        read.append(frames)
        return plain(self, frames, **options)

    monkeypatch.setattr(sf.SoundFile, "read", counted)
    sound = recordings(recording, RATE, "0")(window_path("a.wav", 2, 3.5))
    assert sound is not None
    assert read == [1.5 * RATE]
    np.testing.assert_allclose(sound.wave, np.repeat([0.3, 0.4], [RATE, RATE // 2]), atol=1e-6)
    monkeypatch.setattr(media, "MAX_SECONDS", 0.5)
    short = recordings(recording, RATE, "0")(window_path("a.wav", 2, 3.5))
    assert short is not None
    assert short.seconds == 0.5


def test_a_window_has_the_channel_and_the_rate_of_the_embedder(recording: Path) -> None:
    for channel, expected in (("0", 0.5), ("1", 0.0), ("mean", 0.25)):
        sound = recordings(recording, 2 * RATE, channel)(window_path("a.wav", 4, 5))
        assert sound is not None
        assert (sound.rate_hz, sound.seconds) == (2 * RATE, 1)
        assert np.median(sound.wave) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("path", ["a.wav#t=20,30", "b.wav#t=0,1", "../a.wav#t=0,1", ".#t=0,1", "text.wav#t=0,1"])
def test_a_window_that_cannot_be_read_is_none(recording: Path, path: str) -> None:
    (recording / "text.wav").write_text("no sound")
    assert recordings(recording, RATE, "0")(path) is None
    assert recordings(recording, RATE, "7")("a.wav#t=0,1") is None


def test_a_window_that_ends_after_the_recording_is_read_to_its_end(recording: Path) -> None:
    sound = recordings(recording, RATE, "0")("a.wav#t=7,12")
    assert sound is not None
    assert sound.seconds == 1
