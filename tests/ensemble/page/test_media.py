"""Spectrograms, pictures and players decode to what they were made from."""

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from report_plant import RATE, record

from ensemble.page.media import Sound, audio_uri, common_gain, png, recordings, spectrogram
from featstore.clip import Clip


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Chunks of a PNG by name, their checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunks[kind] = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + chunks[kind]),)
        at += 12 + length
    return chunks


def test_spectrograms_show_a_tone_where_it_is() -> None:
    tone = Sound(np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32), RATE)
    S = spectrogram(tone)
    edges_hz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), len(S) + 1) / 2595) - 1)
    assert (edges_hz[S.mean(1).argmax()] - 20, edges_hz[S.mean(1).argmax() + 1] + 20) > (0, 1000)
    assert edges_hz[S.mean(1).argmax()] - 20 <= 1000 <= edges_hz[S.mean(1).argmax() + 1] + 20
    assert np.isfinite(spectrogram(Sound(np.zeros(10, np.float32), RATE))).all(), "shorter than a window"
    assert spectrogram(Sound(np.zeros(60 * RATE, np.float32), RATE)).shape[1] <= 400


def test_images_and_players_decode(rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, (7, 5)).astype(np.uint8)
    values[0, :2] = 0, 255
    chunks = png_chunks(png(values))
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 5, 7, 8, 3, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(7, 6)
    np.testing.assert_array_equal(rows, np.pad(values, ((0, 0), (1, 0))), "filter 0, then the palette indices")
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3)
    np.testing.assert_array_equal(palette[[0, 255]], [(0, 0, 4), (252, 253, 191)])
    assert (np.diff(palette.astype(int) @ (299, 587, 114)) >= 0).all(), "lightness rises, so grey prints are readable"
    wave = rng.uniform(-0.5, 0.5, RATE).astype(np.float32)
    uri = audio_uri(Sound(wave, RATE), 1.2, 0.25)
    decoded, rate = sf.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])), dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(decoded, (wave[:4000] * 1.2 * 32767).round())
    loud = sf.read(io.BytesIO(base64.b64decode(audio_uri(Sound(wave, RATE), 4, 1).partition(",")[2])), dtype="int16")[0]
    assert (loud.min(), loud.max()) == (-32767, 32767), "louder than full scale is clipped"


def test_a_pair_of_players_shares_one_gain_that_never_clips() -> None:
    loud, quiet = (Sound(np.array([peak, -peak / 2], np.float32), RATE) for peak in (0.5, 0.01))
    assert common_gain([loud, quiet]) == pytest.approx(1.4)
    assert common_gain([quiet]) == pytest.approx(70)
    assert common_gain([Sound(np.zeros(3, np.float32), RATE)]) == 1.0


def test_recordings_outside_the_data_folder_are_never_read(tmp_path: Path) -> None:
    record(tmp_path, [Clip("secret.wav", "fan", "00", "test"), Clip("data/ok.wav", "fan", "00", "test")])
    listen = recordings(tmp_path / "data", RATE, "0")
    assert listen("ok.wav") is not None
    assert listen("../secret.wav") is None
    assert listen(str(tmp_path / "secret.wav")) is None
    assert listen("missing.wav") is None


def test_no_more_is_read_than_is_asked_for(tmp_path: Path) -> None:
    record(tmp_path, [Clip("a.wav", "fan", "00", "test")], seconds=3)
    whole, part = recordings(tmp_path, RATE, "0"), recordings(tmp_path, RATE, "0", 0.5)
    for listen, expected in ((whole, (3.0, 2.0)), (part, (0.5, 0.5))):
        sounds = [listen(path) for path in ("a.wav", "a.wav#t=1,3")]
        assert tuple(sound.seconds for sound in sounds if sound) == expected
