"""MP3 files that state no length are decoded to their end."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from recordings import RATE

from featstore.audio import opened
from featstore.audio.lengths import seconds_of
from featstore.audio.mp3 import unstated
from featstore.audio.outcomes import UNKNOWN
from featstore.audio.part import in_memory
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip, read_recording
from featstore.errors import RejectedAudio

NATIVE = AudioPolicy()
ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)


def mp3(rate_hz: int = RATE, channels: int = 1, mode: str = "VARIABLE", seconds: float = 4) -> bytes:
    """A file whose sound becomes loud halfway, so that an estimate from its beginning is wrong."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate_hz), channels))
    wave[: len(wave) // 2] *= 1e-3
    file = BytesIO()
    with sf.SoundFile(file, "w", rate_hz, channels, format="MP3", bitrate_mode=mode, compression_level=0.5) as sound:
        sound.write(wave)
    return file.getvalue()


def without_first_frame(content: bytes) -> bytes:
    return content[content.index(content[:2], 10) :]


@pytest.mark.parametrize(("rate_hz", "channels"), [(RATE, 1), (RATE, 2), (44_100, 1), (44_100, 2), (8000, 1)])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("before", [b"", ID3])
def test_a_file_without_a_first_frame_is_decoded_to_its_end(
    tmp_path: Path, rate_hz: int, channels: int, mode: str, before: bytes
) -> None:
    whole = mp3(rate_hz, channels, mode)
    (tmp_path / "whole").write_bytes(whole)
    (tmp_path / "a").write_bytes(before + without_first_frame(whole))
    recording, true = read_recording(tmp_path / "a", 0, NATIVE), read_recording(tmp_path / "whole", 0, NATIVE)
    assert recording.outcome == UNKNOWN
    assert 0 <= recording.n_samples - true.n_samples < 3000, "frames are filled up, and the decoder needs some"
    assert seconds_of(tmp_path / "a") == recording.n_samples / rate_hz
    window = read_clip(tmp_path, "a#t=3.2,3.9", 0, NATIVE)
    if rate_hz == 8000:
        return  # libmpg123 does not seek to the sample there, with or without a first frame
    np.testing.assert_allclose(window.wave, recording.wave[round(3.2 * rate_hz) : round(3.9 * rate_hz)], atol=1e-4)


def test_a_file_that_states_its_length_is_believed(tmp_path: Path) -> None:
    content = mp3()
    (tmp_path / "a").write_bytes(ID3 + content)
    assert unstated(in_memory(ID3 + content), len(content)) is None
    assert read_recording(tmp_path / "a", 0, NATIVE).outcome == ""


def test_a_cut_that_only_decoding_could_show_is_accepted(tmp_path: Path) -> None:
    content = without_first_frame(mp3())
    (tmp_path / "a").write_bytes(content[: len(content) * 2 // 3])
    assert read_recording(tmp_path / "a", 0, NATIVE).outcome == UNKNOWN


def test_bytes_that_cannot_be_decoded_are_no_end(tmp_path: Path) -> None:
    content = without_first_frame(mp3())
    (tmp_path / "a").write_bytes(content + b"\xaa" * len(content))
    with pytest.raises(RejectedAudio, match=r"its last .* bytes cannot be decoded"):
        read_recording(tmp_path / "a", 0, NATIVE)


def test_samples_are_counted_once_and_only_in_files_of_some_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(without_first_frame(mp3()))
    counts: list[int] = []
    count = opened._count

    def counting(sound: sf.SoundFile) -> int:
        counts.append(1)
        return count(sound)

    monkeypatch.setattr(opened, "_count", counting)
    for start in range(3):
        read_clip(tmp_path, f"a#t={start},{start + 1}", 0, NATIVE)
    assert len(counts) == 1
    monkeypatch.setattr(opened, "COUNTED_BYTES", 100)
    with pytest.raises(RejectedAudio, match="states no length, and it is too large to be counted; convert it to WAV"):
        read_recording(tmp_path / "a", 0, NATIVE)
    assert seconds_of(tmp_path / "a") is None


def test_other_files_have_no_frame() -> None:
    assert unstated(in_memory(b""), 0) is None
    assert unstated(in_memory(b"\xff\xff\xff\xff" * 20), 80) is None
