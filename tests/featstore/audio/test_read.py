"""Each kind of input file has its documented outcome."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from recordings import RATE, tone, wav_header

from featstore.audio import hashes as hashing
from featstore.audio.hashes import content_hash
from featstore.audio.lengths import seconds_of
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip, read_recording
from featstore.clip import Window
from featstore.errors import RejectedAudio

NATIVE = AudioPolicy()


@pytest.mark.parametrize(
    ("suffix", "fmt", "subtype", "tolerance"),
    [
        ("wav", "WAV", "PCM_16", 4e-5),
        ("wav", "WAV", "PCM_U8", 1e-2),
        ("wav", "WAV", "PCM_24", 1e-6),
        ("wav", "WAV", "PCM_32", 1e-6),
        ("wav", "WAV", "FLOAT", 1e-6),
        ("wav", "WAV", "DOUBLE", 1e-6),
        ("wav", "WAV", "ALAW", 2e-2),
        ("wav", "WAVEX", "PCM_16", 4e-5),
        ("wav", "RF64", "PCM_16", 4e-5),
        ("w64", "W64", "PCM_16", 4e-5),
        ("aiff", "AIFF", "PCM_16", 4e-5),
        ("flac", "FLAC", "PCM_16", 4e-5),
        ("ogg", "OGG", "VORBIS", 5e-2),
        ("xyz", "FLAC", "PCM_16", 4e-5),  # the content decides, not the extension
    ],
)
def test_formats_decode_to_the_same_wave(tmp_path: Path, suffix: str, fmt: str, subtype: str, tolerance: float) -> None:
    wave = tone()
    path = tmp_path / f"a.{suffix}"
    sf.write(path, wave, RATE, format=fmt, subtype=subtype)
    recording = read_recording(path, RATE, NATIVE)
    assert recording.wave.dtype == np.float32
    assert (recording.sample_rate_hz, recording.n_samples, recording.channels) == (RATE, len(wave), 1)
    np.testing.assert_allclose(recording.wave, wave[:, 0], atol=tolerance)
    assert recording.content_hash == content_hash(path)


def test_fast_path_equals_libsndfile(tmp_path: Path, rng: np.random.Generator) -> None:
    wave = rng.uniform(-1, 1, (4001, 3)).astype(np.float32)
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="PCM_16")
    expected, _ = sf.read(tmp_path / "a.wav", dtype="float32")
    for channel in range(3):
        decoded = read_recording(tmp_path / "a.wav", RATE, AudioPolicy(str(channel))).wave
        np.testing.assert_array_equal(decoded, expected[:, channel])
    mean = read_recording(tmp_path / "a.wav", RATE, AudioPolicy("mean")).wave
    np.testing.assert_allclose(mean, expected.mean(axis=1), atol=1e-6)


def test_resampling_keeps_a_tone(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.flac", tone(1.0, 44_100), 44_100)
    recording = read_recording(tmp_path / "a.flac", RATE, NATIVE)
    assert abs(len(recording.wave) - RATE) <= 1
    middle = slice(2000, -2000)
    np.testing.assert_allclose(recording.wave[: RATE - 1][middle], tone(1.0)[: RATE - 1, 0][middle], atol=2e-3)
    assert (recording.sample_rate_hz, recording.n_samples) == (44_100, 44_100)


def test_streamed_resampling_equals_resampling_at_once(tmp_path: Path, rng: np.random.Generator) -> None:
    import soxr

    wave = rng.normal(0, 0.1, 200_000).astype(np.float32)  # several decoder blocks
    sf.write(tmp_path / "a.wav", wave, 48_000, subtype="FLOAT")
    expected = soxr.resample(wave, 48_000, RATE)
    decoded = read_recording(tmp_path / "a.wav", RATE, NATIVE).wave
    assert len(decoded) == len(expected)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("policy", "length", "tail"),
    [
        ("native", 8000, None),
        ("crop:0.2", 3200, None),
        ("crop:2", 8000, None),
        ("pad:1", 16_000, 0.0),
        ("pad:0.1", 1600, None),
    ],
)
def test_length_policies(tmp_path: Path, policy: str, length: int, tail: float | None) -> None:
    sf.write(tmp_path / "a.wav", tone(), RATE)
    recording = read_recording(tmp_path / "a.wav", RATE, AudioPolicy(length=policy))
    assert len(recording.wave) == length
    assert recording.n_samples == 8000, "the fact of the file, whatever was taken of it"
    if tail is not None:
        assert (recording.wave[8000:] == tail).all()


def test_tile_repeats_from_the_start(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(), RATE)
    wave = read_recording(tmp_path / "a.wav", RATE, AudioPolicy(length="tile:1.2")).wave
    np.testing.assert_array_equal(wave[8000:16_000], wave[:8000])
    np.testing.assert_array_equal(wave[16_000:], wave[:3200])


def test_one_sample_is_padded_and_silence_has_its_outcome(tmp_path: Path) -> None:
    sf.write(tmp_path / "one.wav", np.array([0.5]), RATE)
    recording = read_recording(tmp_path / "one.wav", RATE, NATIVE, min_samples=1024)
    assert (recording.outcome, len(recording.wave), recording.n_samples) == ("padded", 1024, 1)
    sf.write(tmp_path / "zero.wav", np.zeros(100), RATE)
    assert read_recording(tmp_path / "zero.wav", RATE, NATIVE, min_samples=1024).outcome == "silent"


def bad_files() -> dict[str, tuple[bytes, str]]:
    return {
        "empty.wav": (b"", "empty"),
        "header_only.wav": (wav_header(0), "no samples"),
        "text.wav": (b"this is a text file, renamed\n" * 40, "not decodable"),
        "truncated.wav": (wav_header(1000, b"\1\2" * 400), "declares 2,000 bytes of samples, the file has 800"),
        "no_channels.wav": (wav_header(100, b"\1\2" * 100, channels=0), "not decodable"),
        "cut_header.wav": (wav_header(100)[:30], "not decodable"),
        "zero.flac": (b"fLaC" + bytes(60), "not decodable"),
    }


@pytest.mark.parametrize("name", bad_files())
def test_bad_files_are_rejected_with_a_reason(tmp_path: Path, name: str) -> None:
    content, reason = bad_files()[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RejectedAudio, match=reason):
        read_recording(tmp_path / name, RATE, NATIVE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_samples_are_rejected(tmp_path: Path, value: float) -> None:
    wave = tone()[:, 0].copy()
    wave[77] = value
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(RejectedAudio, match="NaN or infinite"):
        read_recording(tmp_path / "a.wav", RATE, NATIVE)


def test_truncated_flac_is_rejected(tmp_path: Path, rng: np.random.Generator) -> None:
    sf.write(tmp_path / "a.flac", rng.uniform(-0.5, 0.5, 50_000), RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(RejectedAudio):
        read_recording(tmp_path / "cut.flac", RATE, NATIVE)


def test_paths_that_are_not_regular_files_are_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for name in ("missing.wav", "."):
        with pytest.raises(RejectedAudio, match="cannot be read"):
            read_recording(tmp_path / name, RATE, NATIVE)
    with pytest.raises(RejectedAudio, match="not a regular file"):
        read_recording(tmp_path / "pipe.wav", RATE, NATIVE)


def test_missing_channel_is_rejected_not_replaced(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(channels=2), RATE)
    assert read_recording(tmp_path / "a.wav", RATE, AudioPolicy("1")).wave.max() == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(RejectedAudio, match="channel 2 does not exist, the file has 2"):
        read_recording(tmp_path / "a.wav", RATE, AudioPolicy("2"))


def test_twelve_hours_are_rejected_by_the_header_or_cropped_without_loading(tmp_path: Path) -> None:
    frames = 12 * 3600 * RATE
    path = tmp_path / "long.wav"
    with path.open("wb") as file:  # a sparse file of nominally 1.4 GB
        file.write(wav_header(frames))
        file.seek(44 + 2 * frames - 2)
        file.write(b"\1\0")
    with pytest.raises(RejectedAudio, match=r"43,200 s long, more than 600 s.*--window 10 --hop 5.*--length crop:S"):
        read_recording(path, RATE, NATIVE)
    tracemalloc.start()
    assert len(read_recording(path, RATE, AudioPolicy(length="crop:10")).wave) == 10 * RATE
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("fmt", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("FLAC", "PCM_16"),
    ],
)
@pytest.mark.parametrize("rate", [RATE, 22_050, 48_000])
@pytest.mark.parametrize("channel", ["0", "1", "mean"])
def test_a_window_is_the_recording_of_its_samples(
    tmp_path: Path, rng: np.random.Generator, fmt: str, subtype: str, rate: int, channel: str
) -> None:
    wave = rng.uniform(-0.9, 0.9, (3 * rate, 2))
    sf.write(tmp_path / "whole", wave, rate, format=fmt, subtype=subtype)
    samples, _ = sf.read(tmp_path / "whole", dtype="float64")
    policy = AudioPolicy(channel)
    for start_s, end_s in ((0.0, 0.7), (1.03, 2.5), (2.25, 3.0)):
        first, end = round(start_s * rate), round(end_s * rate)
        sf.write(tmp_path / "part", samples[first:end], rate, format=fmt, subtype=subtype)
        window = read_recording(tmp_path / "whole", RATE, policy, window=Window(start_s, end_s))
        part = read_recording(tmp_path / "part", RATE, policy)
        np.testing.assert_array_equal(window.wave, part.wave)
        assert (window.n_samples, window.sample_rate_hz, window.channels) == (end - first, rate, 2)
        assert window.content_hash == content_hash(tmp_path / "whole")


def test_a_window_of_ogg_holds_the_samples_of_the_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    sf.write(tmp_path / "a.ogg", rng.uniform(-0.5, 0.5, 3 * RATE), RATE, format="OGG", subtype="VORBIS")
    whole = read_recording(tmp_path / "a.ogg", RATE, NATIVE).wave
    window = read_clip(tmp_path, "a.ogg#t=1.2,2.3", RATE, NATIVE).wave
    np.testing.assert_allclose(window, whole[round(1.2 * RATE) : round(2.3 * RATE)], atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_windows_beyond_the_end(tmp_path: Path, subtype: str) -> None:
    sf.write(tmp_path / "a.wav", tone(1.0), RATE, subtype=subtype)
    assert read_clip(tmp_path, "a.wav#t=0.5,1.001", RATE, NATIVE).n_samples == RATE // 2, "a millisecond is rounding"
    for times in ("0.5,1.1", "5,1.1", "0.5,1.00107"):
        beyond = f"the window ends at {times.partition(',')[2]} s, after the end of the recording at 1 s"
        with pytest.raises(RejectedAudio, match=beyond):
            read_clip(tmp_path, f"a.wav#t={times}", RATE, NATIVE)
    for times in ("0.5,0.5", "0.5,0.2", "0.1,0.100001"):
        with pytest.raises(RejectedAudio, match="contains no samples"):
            read_clip(tmp_path, f"a.wav#t={times}", RATE, NATIVE)


def test_length_policies_apply_to_the_window(tmp_path: Path, rng: np.random.Generator) -> None:
    sf.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, 4 * RATE), RATE)
    whole = read_recording(tmp_path / "a.wav", RATE, NATIVE).wave
    crop = read_clip(tmp_path, "a.wav#t=1,3", RATE, AudioPolicy(length="crop:0.5"))
    np.testing.assert_array_equal(crop.wave, whole[RATE : RATE + RATE // 2])
    assert crop.n_samples == 2 * RATE
    padded = read_clip(tmp_path, "a.wav#t=1,3", RATE, AudioPolicy(length="pad:3")).wave
    np.testing.assert_array_equal(padded, np.pad(whole[RATE : 3 * RATE], (0, RATE)))
    limited = AudioPolicy(max_seconds=1)
    assert len(read_clip(tmp_path, "a.wav#t=3,4", RATE, limited).wave) == RATE, "the limit is that of the window"
    with pytest.raises(RejectedAudio, match="2 s long, more than 1 s; give a shorter window"):
        read_clip(tmp_path, "a.wav#t=1,3", RATE, limited)


def test_a_silent_window_of_a_recording_with_sound(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.concatenate([tone(1.0), np.zeros((RATE, 1))]), RATE)
    assert read_clip(tmp_path, "a.wav#t=1.5,2", RATE, NATIVE).outcome == "silent"
    assert read_clip(tmp_path, "a.wav#t=0.5,1.5", RATE, NATIVE).outcome == ""


def test_damaged_files_with_windows_are_rejected_with_a_reason(tmp_path: Path, rng: np.random.Generator) -> None:
    sf.write(tmp_path / "a.wav", tone(1.0), RATE)
    os.truncate(tmp_path / "a.wav", 2000)
    with pytest.raises(RejectedAudio, match="truncated: its header declares"):
        read_clip(tmp_path, "a.wav#t=0,0.01", RATE, NATIVE)
    sf.write(tmp_path / "a.flac", rng.uniform(-0.5, 0.5, 4 * RATE), RATE)
    os.truncate(tmp_path / "a.flac", (tmp_path / "a.flac").stat().st_size // 2)
    with pytest.raises(RejectedAudio):
        read_clip(tmp_path, "a.flac#t=3,4", RATE, NATIVE)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(RejectedAudio, match="not a regular file"):
        read_clip(tmp_path, "pipe.wav#t=0,1", RATE, NATIVE)


def test_a_window_of_twelve_hours_is_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_hash_blocks", lambda file: "")  # 1.4 GB
    frames = 12 * 3600 * RATE
    with (tmp_path / "long.wav").open("wb") as file:
        file.write(wav_header(frames))
        file.seek(44 + 2 * (frames - 5))
        file.write(np.arange(1, 6, dtype="<i2").tobytes())
    assert seconds_of(tmp_path / "long.wav") == 12 * 3600
    tracemalloc.start()
    wave = read_clip(tmp_path, "long.wav#t=43190,43200", RATE, NATIVE).wave
    assert tracemalloc.get_traced_memory()[1] < 3e6
    tracemalloc.stop()
    assert len(wave) == 10 * RATE
    np.testing.assert_array_equal(wave[-6:] * 32768, np.arange(6))


def test_a_sample_rate_of_zero_is_rejected(tmp_path: Path) -> None:
    content = bytearray(wav_header(100, bytes(200)))
    content[24:28] = bytes(4)
    (tmp_path / "a.wav").write_bytes(content)
    for rate_hz in (0, RATE):
        for name in ("a.wav", "a.wav#t=0,1"):
            with pytest.raises(RejectedAudio, match=r"^its header states a sample rate of 0$"):
                read_clip(tmp_path, name, rate_hz, NATIVE)
    assert seconds_of(tmp_path / "a.wav") is None
