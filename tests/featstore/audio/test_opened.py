"""Recordings are decoded to their true end, or rejected."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from recordings import COMPRESSED, CONTAINERS, RATE, content_of, noise, outer_size, with_length

from featstore.audio import hashes as hashing
from featstore.audio.lengths import seconds_of
from featstore.audio.outcomes import LONGER, UNKNOWN
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip, read_recording
from featstore.clip import Window
from featstore.errors import RejectedAudio

NATIVE = AudioPolicy()

BIG_ENDIAN = ("rifx", "aiff", "aifc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a"


def check_read_to_the_end(path: Path, kind: str, changed: bytes, outcome: str) -> None:
    path.write_bytes(content_of(kind, noise(2)))
    whole = read_recording(path, RATE, NATIVE)
    path.write_bytes(changed)
    recording = read_recording(path, RATE, NATIVE)
    assert (recording.outcome, recording.n_samples) == (outcome, 2 * RATE)
    np.testing.assert_array_equal(recording.wave, whole.wave)
    window = read_clip(path.parent, "a#t=1.2,1.9", RATE, NATIVE)
    assert window.outcome == outcome
    np.testing.assert_array_equal(window.wave, whole.wave[round(1.2 * RATE) : round(1.9 * RATE)])


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("value", [0, 0x7FFFF000])
def test_a_container_without_a_length_is_decoded_to_the_end(path: Path, kind: str, value: int) -> None:
    check_read_to_the_end(path, kind, with_length(kind, content_of(kind, noise(2)), value), UNKNOWN)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_container_that_claims_half_is_decoded_to_the_end(path: Path, kind: str) -> None:
    content = content_of(kind, noise(2))
    check_read_to_the_end(path, kind, with_length(kind, content, CONTAINERS[kind][6] + len(content) // 2), LONGER)


@pytest.mark.parametrize("kind", ["wav", "wav24", "rifx", "rf64", "aiff", "aifc"])
def test_what_a_finished_header_leaves_out_is_no_sound(path: Path, kind: str) -> None:
    content, after = content_of(kind, noise(2)), np.random.default_rng(0).bytes(5000)
    where = outer_size(kind, content)
    assert where is not None
    changed = bytearray(content + b"\xa9nam" + struct.pack(">I" if kind in BIG_ENDIAN else "<I", len(after)) + after)
    struct.pack_into(where[1], changed, where[0], len(changed) - 8)
    check_read_to_the_end(path, kind, bytes(changed), "")
    assert seconds_of(path) == 2


@pytest.mark.parametrize(("frames", "outcome"), [(0, UNKNOWN), (16_000, LONGER)])
def test_a_flac_that_claims_less_is_decoded_to_the_end(path: Path, frames: int, outcome: str) -> None:
    content = bytearray(content_of("flac", noise(2)))
    struct.pack_into(">I", content, 22, frames)
    check_read_to_the_end(path, "flac", bytes(content), outcome)


def test_a_flac_without_a_length_is_decoded_to_its_last_whole_frame(path: Path) -> None:
    content = bytearray(content_of("flac", noise(2)))
    struct.pack_into(">I", content, 22, 0)
    path.write_bytes(content[:-10])
    recording = read_recording(path, RATE, NATIVE)
    assert (recording.outcome, recording.n_samples) == (UNKNOWN, 2 * RATE // 4096 * 4096)
    path.write_bytes(content[:80])
    with pytest.raises(RejectedAudio, match="its header states no length, and it has no whole frame"):
        read_recording(path, RATE, NATIVE)


@pytest.mark.parametrize("kind", [*CONTAINERS, *COMPRESSED])
@pytest.mark.parametrize("policy", [NATIVE, AudioPolicy(length="crop:0.1"), AudioPolicy(length="window:0.5,0.5")])
def test_a_cut_file_is_truncated_under_every_policy(path: Path, kind: str, policy: AudioPolicy) -> None:
    content = content_of(kind, noise(2))
    for size in (len(content) * 2 // 3, len(content) - 1 - (len(content) % 2)):
        path.write_bytes(content[:size])
        with pytest.raises(RejectedAudio, match=r"truncated: .* declares [\d,]+ .* the file has [\d,]+"):
            read_recording(path, RATE, policy)


def test_a_flac_that_claims_more_than_it_has(path: Path) -> None:
    content = bytearray(content_of("flac", noise(2)))
    struct.pack_into(">I", content, 22, 4_000_000_000)
    path.write_bytes(content)
    with pytest.raises(RejectedAudio, match=r"declares 4,000,000,000 samples, the file has \d\d,\d\d\d$"):
        read_recording(path, RATE, AudioPolicy(max_seconds=1e9))


def test_two_mp3_in_one_file(path: Path) -> None:
    path.write_bytes(2 * content_of("mp3", noise(2)))
    with pytest.raises(RejectedAudio, match="bytes follow the end that its header states"):
        read_recording(path, RATE, NATIVE)


@pytest.mark.parametrize("kind", ["flac", "mp3"])
def test_a_tag_at_the_end_is_no_sound(path: Path, kind: str) -> None:
    path.write_bytes(content_of(kind, noise(2)) + b"TAG" + bytes(125))
    assert read_recording(path, RATE, NATIVE).n_samples == 2 * RATE


def test_a_format_whose_length_is_not_checked_is_refused(path: Path) -> None:
    sf.write(path, noise(1), RATE, format="VOC", subtype="PCM_16")
    with pytest.raises(RejectedAudio, match="the format VOC is not read; convert it to WAV"):
        read_recording(path, RATE, NATIVE)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_codings_without_a_fixed_size_of_samples(path: Path, subtype: str) -> None:
    sf.write(path, noise(2), RATE, format="WAV", subtype=subtype)
    content = path.read_bytes()
    whole = read_recording(path, RATE, NATIVE)
    for value in (0, 0xFFFFFFFF):
        path.write_bytes(with_length("wav", content, value))
        unknown = read_recording(path, RATE, NATIVE)
        assert (unknown.outcome, unknown.n_samples) == (UNKNOWN, whole.n_samples)
    path.write_bytes(content[:-1])
    with pytest.raises(RejectedAudio, match="truncated"):
        read_recording(path, RATE, NATIVE)


def test_a_wav_beyond_four_gibibytes_is_read_at_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_hash_blocks", lambda file: "")
    frames = (1 << 32) // 3 + RATE
    content = content_of("wav24", noise(0.5))
    start = content.index(b"data") + 8
    with path.open("wb") as file:  # sparse
        file.write(with_length("wav24", content, 3 * frames % (1 << 32))[:start])
        file.seek(start + 3 * frames - (len(content) - start))
        file.write(content[start:])
    seconds = seconds_of(path)
    assert seconds == frames / RATE
    recording = read_recording(path, RATE, NATIVE, window=Window(seconds - 0.5, seconds))
    assert recording.outcome == LONGER
    path.write_bytes(content)
    np.testing.assert_array_equal(recording.wave, read_recording(path, RATE, NATIVE).wave)
