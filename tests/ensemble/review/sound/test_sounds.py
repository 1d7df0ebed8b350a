"""Sounds and pictures of a session."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from noise_plant import EMBEDDER, noise
from report_plant import RATE
from review_plant import session_of
from window_page import window_session

from ensemble.deviation.locate import Locator
from ensemble.deviation.statistics import NormalSound
from ensemble.page.pictures import CLIP, DEVIATION, DIFFERENCE, NORMAL
from ensemble.review.routes.sound import sounds_for
from ensemble.review.sound import sounds as module
from ensemble.review.sound.cache import Cache
from ensemble.review.sound.locating import Locating
from ensemble.review.sound.loudness import EQUAL, SAME
from ensemble.review.sound.parts import Part
from ensemble.review.sound.sounds import Sounds
from featstore.errors import DataError, RejectedAudio, RequestError


@pytest.fixture
def sounds(tmp_path: Path) -> Sounds:
    return sounds_for(session_of(tmp_path))


def test_only_recordings_that_are_known(sounds: Sounds) -> None:
    assert sounds.part("fan/00/test/1.wav") == Part("fan/00/test/1.wav")
    assert sounds.part("fan/00/train/1.wav#t=0.5,1") == Part("fan/00/train/1.wav", 0.5, 1.0)
    assert sounds.place(Part("fan/01/test/1.wav")) == ("fan", "01")
    (sounds.data / "other.wav").write_bytes(b"x")  # type: ignore[operator]
    for key in ("other.wav", "", "fan", "../data/fan/00/test/1.wav"):
        with pytest.raises(RequestError, match="no recording of this store"):
            sounds.part(key)
    with pytest.raises(RequestError, match="generated anomaly"):
        sounds.part("fan/00/train/1.wav::hiss@1")


def test_a_sound_is_kept_until_its_file_changes(sounds: Sounds) -> None:
    part = Part("fan/00/test/1.wav")
    first = sounds.sound(part)
    assert sounds.sound(part) is first
    path = sounds.data / part.recording  # type: ignore[operator]
    sf.write(path, np.zeros(RATE), RATE)
    os.utime(path, ns=(1, 1))
    assert not sounds.sound(part).wave.any()


def test_pictures_share_their_spectrograms(sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(module.Pair, "png", lambda pair, kind: drawn.append(pair) or kind.encode())
    parts = (Part("fan/00/test/1.wav"), Part("fan/00/train/1.wav"))
    kinds = (CLIP, NORMAL, DIFFERENCE, CLIP)
    assert [sounds.png(*parts, kind) for kind in kinds] == [kind.encode() for kind in kinds]
    assert len(drawn) == 3
    assert len({id(pair) for pair in drawn}) == 1


def test_loudness(sounds: Sounds) -> None:
    quiet, loud = Part("fan/00/test/1.wav"), Part("fan/00/train/1.wav")
    path = sounds.data / quiet.recording  # type: ignore[operator]
    wave, rate = sf.read(path)
    sf.write(path, wave / 8, rate)

    def level(part: Part, other: Part, loudness: str) -> float:
        samples, _ = sf.read(io.BytesIO(sounds.wav(part, other, loudness)))
        return float(np.sqrt(np.mean(samples**2)))

    assert level(quiet, loud, EQUAL) == pytest.approx(level(loud, quiet, EQUAL), rel=0.01)
    assert level(quiet, loud, SAME) == pytest.approx(level(loud, quiet, SAME) / 8, rel=0.02)


def test_a_recording_that_is_missing(sounds: Sounds) -> None:
    part, normal = Part("fan/00/test/1.wav"), Part("fan/00/train/1.wav")
    (sounds.data / normal.recording).unlink()  # type: ignore[operator]
    assert sounds.pair(part, normal).normal is None
    assert sounds.wav(part, normal, EQUAL) == sounds.wav(part, None, EQUAL)
    with pytest.raises(RejectedAudio, match="No such file"):
        sounds.sound(normal)


def test_a_session_without_recordings(tmp_path: Path) -> None:
    sounds = sounds_for(session_of(tmp_path, data=False))
    with pytest.raises(RejectedAudio, match="--data DATA"):
        sounds.sound(Part("fan/00/test/1.wav"))


def test_no_deviation_map_without_statistics(sounds: Sounds) -> None:
    part = Part("fan/00/test/1.wav")
    with pytest.raises(DataError, match="no embedding holds the log-mel statistics"):
        sounds.locating.get(60)
    with pytest.raises(DataError, match="no embedding holds the log-mel statistics"):
        sounds.png(part, None, DEVIATION)


def test_the_deviation_map_and_its_sentence(sounds: Sounds) -> None:
    rows = EMBEDDER.embed(noise(np.random.default_rng(3), 20))
    locator = Locator({("fan", "00"): NormalSound.of(rows, EMBEDDER.views)}, "logmel:n_mels=40")
    go = threading.Event()
    sounds.locating = Locating(lambda: (locator, "") if go.wait(30) else (None, "late"))
    part = Part("fan/00/test/1.wav")
    assert sounds.png(part, None, DEVIATION) is None, "the statistics are not made yet"
    assert sounds.deviating(part) is None
    go.set()
    assert sounds.locating.get(30) is locator
    pair = sounds.deviating(part, (0.5, 1.0))
    assert pair
    assert pair.clip.rate_hz == locator.embedder.sample_rate_hz
    assert "Hz" in pair.sentence
    assert pair.sentence.startswith("0.50 to "), "of what is reported, without what is around it"
    image = sounds.png(part, None, DEVIATION)
    assert image
    assert image.startswith(b"\x89PNG")
    with pytest.raises(DataError, match="no statistics"):
        sounds.png(Part("fan/01/test/1.wav"), None, DEVIATION)


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    sounds = sounds_for(window_session(tmp_path))
    sounds.cache = Cache(3_000_000)
    for i in range(2):
        for start in range(0, 30, 5):
            part = sounds.part(f"fan/test/{i}.wav", (float(start), start + 10.0))
            sounds.png(part, sounds.part("fan/train/1.wav#t=0,10"), CLIP)
            sounds.wav(part, None, EQUAL)
    assert 0 < sounds.cache.bytes <= 3_000_000
