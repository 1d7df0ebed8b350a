"""The rule of windows, on lengths worked out by hand and on headers of real files."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from featstore.audio.policy import AudioPolicy
from featstore.clip import Clip, Windows
from featstore.layouts import windows
from featstore.layouts.windows import starts_of, windows_of

RATE = 8000
POLICY = AudioPolicy(length="window:1,0.5")


def clip(path: str, **fields: str) -> Clip:
    return Clip(path, "fan", "00", **{"split": "train", **fields})  # type: ignore[arg-type]


def write(path: Path, seconds: float, **options: str) -> None:
    sf.write(path, np.zeros(round(seconds * RATE)), RATE, **options)


@pytest.mark.parametrize(
    ("seconds", "window_s", "hop_s", "starts"),
    [
        (10.0, 10, 5, []),  # not longer than one window
        (9.0, 10, 5, []),
        (20.0, 10, 5, [0, 5, 10]),  # the last one ends with the recording
        (20.0, 10, 10, [0, 10]),
        (22.0, 10, 5, [0, 5, 10, 12]),  # one more ends with the recording
        (10.5, 10, 10, [0, 0.5]),
        (10.0005, 10, 10, [0]),
        (20.001, 10, 10, [0, 10]),  # a millisecond is left out
        (20.0011, 10, 10, [0, 10, 10.0011]),
        (0.3, 0.1, 0.1, [0, 0.1, 0.2]),  # (0.3 - 0.1) / 0.1 is less than 2 in floating point
    ],
)
def test_the_rule(seconds: float, window_s: float, hop_s: float, starts: list[float]) -> None:
    assert starts_of(seconds, Windows(window_s, hop_s)) == pytest.approx(starts)


def test_every_moment_is_in_a_window_of_full_length() -> None:
    for seconds in np.random.default_rng(0).uniform(1.01, 30, 200):
        starts = np.array(starts_of(seconds, Windows(1.0, 0.7)))
        assert starts[0] == 0
        assert (np.diff(starts) > 0).all()
        assert (np.diff(starts) <= 1.0).all()
        assert starts[-1] + 1.0 == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {}),
        ("float.wav", {"subtype": "FLOAT"}),
        ("a.flac", {}),
        ("a.ogg", {"format": "OGG", "subtype": "VORBIS"}),
        ("a.w64", {"format": "W64"}),
        ("a.aiff", {"format": "AIFF"}),
    ],
)
def test_headers_of_all_formats(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    write(tmp_path / name, 2.2, **options)
    paths = [part.path for part in windows_of(tmp_path, [clip(name)], POLICY)]
    assert paths == [f"{name}#t={times}" for times in ("0,1", "0.5,1.5", "1,2", "1.2,2.2")]


def test_clips_keep_their_order_and_fields_and_what_cannot_be_cut_stays(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", 1.5)
    write(tmp_path / "one.wav", 1.0)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    whole = ["one.wav", "text.wav", "empty.wav", "pipe.wav", "gone.wav", "long.wav#t=0.25,0.75"]
    clips = [clip("long.wav", split="test", label="anomaly", domain="target"), *map(clip, whole), clip("long.wav")]
    parts = windows_of(tmp_path, clips, POLICY)
    assert [part.path for part in parts] == [
        *("long.wav#t=0,1", "long.wav#t=0.5,1.5"),
        *whole,
        *("long.wav#t=0,1", "long.wav#t=0.5,1.5"),
    ]
    assert {(part.split, part.label, part.domain) for part in parts[:2]} == {("test", "anomaly", "target")}
    assert windows_of(tmp_path, clips, AudioPolicy()) == clips


def test_a_listed_window_is_not_made_again(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 1.5)
    listed = clip("a.wav#t=0,1", label="anomaly")
    assert windows_of(tmp_path, [clip("a.wav"), listed], POLICY) == [clip("a.wav#t=0.5,1.5"), listed]


def test_many_recordings_are_cut_like_each_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "PER_TASK", 3)
    clips = [clip(f"{i}.wav") for i in range(20)]
    for i in range(20):
        write(tmp_path / f"{i}.wav", 0.5 + i / 8)
    alone = [part for single in clips for part in windows_of(tmp_path, [single], POLICY)]
    assert windows_of(tmp_path, clips, POLICY) == alone


def test_a_header_that_promises_months_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", 2.0)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21:26] = bytes([data[21] | 0x0F, 255, 255, 255, 255])  # 2^36 - 1 samples
    (tmp_path / "a.flac").write_bytes(data)
    assert windows_of(tmp_path, [clip("a.flac")], POLICY) == [clip("a.flac")]
