"""Formats are told by reading, not by a list."""

import pytest
import soundfile

from featstore.doctor import sound
from featstore.doctor.finding import OK


def test_what_is_read_here_is_what_builds_need() -> None:
    found = sound.formats_found()
    assert found.state == OK, found.text
    assert all(name in found.text for name in ("WAV", "FLAC", "MP3", "Ogg Opus"))


def test_a_decoder_that_gives_silence_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sound.is_read("WAV")
    real = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda file: (0 * real(file)[0], 16000))
    assert not sound.is_read("WAV")


def test_a_format_without_an_encoder_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sound.FORMATS, "WAV", ("NONE", "PCM_16"))
    assert not sound.is_read("WAV")
