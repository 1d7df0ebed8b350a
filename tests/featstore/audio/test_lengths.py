"""Lengths of recordings without decoding them."""

import os
from pathlib import Path

import pytest
import soundfile as sf
from recordings import COMPRESSED, CONTAINERS, RATE, content_of, noise, tone

from featstore.audio.lengths import seconds_of, typical_seconds
from featstore.audio.policy import AudioPolicy

NATIVE = AudioPolicy()


def test_the_typical_length_is_the_median_of_what_the_policy_leaves(tmp_path: Path) -> None:
    lengths_s = (0.5, 0.5, 1.0, 3.0, 3.0)
    for i, seconds in enumerate(lengths_s):
        sf.write(tmp_path / f"{i}.wav", tone(seconds), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    os.mkfifo(tmp_path / "pipe.wav")
    paths = [*(f"{i}.wav" for i in range(5)), "broken.wav", "gone.wav", "pipe.wav"]
    assert typical_seconds(tmp_path, paths, NATIVE) == pytest.approx(1.0)
    assert typical_seconds(tmp_path, paths, AudioPolicy(max_seconds=2)) == pytest.approx(0.5)
    assert typical_seconds(tmp_path, paths, AudioPolicy(length="crop:0.2")) == 0.2
    assert typical_seconds(tmp_path, paths, AudioPolicy(length="crop:2")) == pytest.approx(1.0)
    assert typical_seconds(tmp_path, paths, AudioPolicy(length="pad:2")) == 2.0
    assert typical_seconds(tmp_path, paths[5:], NATIVE) is None
    assert typical_seconds(tmp_path, [], NATIVE) is None


def test_the_typical_length_of_windows_opens_no_file(tmp_path: Path) -> None:
    assert typical_seconds(tmp_path, ["gone.wav#t=0,10", "gone.wav#t=5,15"], NATIVE) == 10
    assert typical_seconds(tmp_path, ["gone.wav#t=0,10"], AudioPolicy(length="crop:3")) == 3


@pytest.mark.parametrize("kind", [*CONTAINERS, *COMPRESSED])
def test_a_whole_recording_has_a_length_and_a_cut_one_has_none(tmp_path: Path, kind: str) -> None:
    content = content_of(kind, noise(2))
    (tmp_path / "a").write_bytes(content)
    assert seconds_of(tmp_path / "a") == 2
    (tmp_path / "a").write_bytes(content[: 2 * len(content) // 3])
    assert seconds_of(tmp_path / "a") is None, "so that it stays one clip and is rejected once"
