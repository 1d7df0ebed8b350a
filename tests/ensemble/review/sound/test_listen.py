"""Parts of recordings: the right samples, bounded, and a reason where there are none."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ensemble.page.media import Sound
from ensemble.review.sound import listen
from ensemble.review.sound.listen import read_part
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_recording
from featstore.errors import RejectedAudio

RATE = 8000


def part(path: Path, start: float = 0.0, end: float | None = None, *, rate: int = RATE, channel: str = "0") -> Sound:
    with path.open("rb", buffering=0) as file:
        return read_part(file, path.stat().st_size, rate, channel, (start, end))


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """Two seconds; the left channel rises from 0 to 0.5, the right one is its negative."""
    wave = np.linspace(0, 0.5, 2 * RATE, dtype=np.float32)
    sf.write(tmp_path / "ramp.wav", np.stack([wave, -wave], axis=1), RATE, subtype="FLOAT")
    return tmp_path / "ramp.wav"


def test_a_part_has_the_samples_of_its_time(ramp: Path) -> None:
    sound = part(ramp, 0.5, 1.5)
    wave = np.linspace(0, 0.5, 2 * RATE, dtype=np.float32)
    np.testing.assert_array_equal(sound.wave, wave[RATE // 2 : 3 * RATE // 2])
    assert (sound.start_s, sound.rate_hz) == (0.5, RATE)
    np.testing.assert_array_equal(part(ramp).wave, wave)
    np.testing.assert_array_equal(part(ramp, 1.5, 99).wave, wave[3 * RATE // 2 :])


def test_channels_and_rates(ramp: Path) -> None:
    np.testing.assert_array_equal(part(ramp, channel="1").wave, -part(ramp).wave)
    assert not part(ramp, channel="mean").wave.any()
    assert part(ramp, rate=16_000).seconds == pytest.approx(2, abs=0.01)
    with pytest.raises(RejectedAudio, match="channel 2 does not exist, the file has 2"):
        part(ramp, channel="2")


def test_blocks_are_the_whole(ramp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = part(ramp, 0.25, 1.75, rate=16_000).wave
    monkeypatch.setattr(listen, "BLOCK_VALUES", 2 * 333)
    np.testing.assert_allclose(part(ramp, 0.25, 1.75, rate=16_000).wave, whole, atol=1e-6)


def test_a_part_is_bounded(ramp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "MOST_S", 0.5)
    assert part(ramp).seconds == 0.5
    assert part(ramp, 1.0, 2.0).seconds == 0.5


def test_a_part_of_many_channels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 255, 10**6, 0, 255, 8, b"data", 0)
    header = header[:-4] + struct.pack("<I", 4_000_000_050)
    with (tmp_path / "many.wav").open("wb") as file:
        file.write(header)
        file.truncate(44 + 4_000_000_050)
    with pytest.raises(RejectedAudio, match=r"s of 255 channels at 1,000,000 Hz are .* MB; at most 512 MB are decoded"):
        part(tmp_path / "many.wav")
    assert part(tmp_path / "many.wav", 1.0, 1.1).seconds == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(("start", "end"), [(2.0, 3.0), (5.0, None), (1e300, None), (float("inf"), None), (1.0, 1.0)])
def test_no_samples(ramp: Path, start: float, end: float | None) -> None:
    with pytest.raises(RejectedAudio, match="no samples"):
        part(ramp, start, end)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    wave = np.zeros(RATE, np.float32)
    wave[RATE // 2] = value
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(RejectedAudio, match="NaN or infinite"):
        part(tmp_path / "a.wav")
    assert part(tmp_path / "a.wav", 0.6, 1.0).seconds == pytest.approx(0.4), "a part without them can be heard"


def test_what_is_no_sound(tmp_path: Path) -> None:
    sf.write(tmp_path / "fast.wav", np.zeros(100), 2_000_000)
    (tmp_path / "text.wav").write_text("RIFF but no sound")
    with pytest.raises(RejectedAudio, match="2,000,000 Hz is above"):
        part(tmp_path / "fast.wav")
    with pytest.raises(RejectedAudio, match="not decodable"):
        part(tmp_path / "text.wav")


def test_a_header_that_states_more_than_the_file_has(ramp: Path) -> None:
    content = bytearray(ramp.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = (10 * len(content)).to_bytes(4, "little")
    ramp.write_bytes(content)
    with pytest.raises(RejectedAudio, match="truncated"):
        part(ramp)


@pytest.mark.parametrize("rate_hz", [16_000, 8_000])
@pytest.mark.parametrize("channel", ["1", "mean", "0+1", "0-1"])
def test_a_part_has_the_channels_of_the_build(tmp_path, rate_hz, channel):
    path = tmp_path / "two.wav"
    sf.write(path, 0.1 * np.random.default_rng(0).normal(size=(16_000, 2)), 16_000, subtype="FLOAT")
    with path.open("rb", buffering=0) as file:
        heard = read_part(file, path.stat().st_size, rate_hz, channel, (0.0, None))
    np.testing.assert_allclose(heard.wave, read_recording(path, rate_hz, AudioPolicy(channel)).wave, atol=1e-6)
